//! Data forms (XEP-0004), as far as settings need them.

use std::collections::BTreeSet;

use jid::BareJid;
use minidom::Element;

use super::MAX_LIST;
use crate::xmpp::stanza::{Condition, StanzaError, element};

pub(super) const NS_DATA: &str = "jabber:x:data";

/// One field: name, type and values.
pub(super) type Field = (&'static str, &'static str, Vec<String>);

/// A form of type `result`.
pub(super) fn result(form_type: &str, fields: Vec<Field>) -> Element {
    of("result", form_type, fields, &[])
}

/// A form of this kind; `options` has what the fields of a list may be set to.
pub(super) fn of(
    kind: &'static str,
    form_type: &str,
    fields: Vec<Field>,
    options: &[(&str, &[&str])],
) -> Element {
    let value = |text: &str| element("value", NS_DATA).text(text).build();
    let hidden = ("FORM_TYPE", "hidden", vec![form_type.to_owned()]);
    let fields = [hidden].into_iter().chain(fields);
    let fields = fields.map(|(var, kind, values)| {
        let offered = options.iter().find(|(of, _)| *of == var);
        let offered = offered.map_or([].as_slice(), |(_, words)| words);
        let offered = offered.iter().map(|word| {
            let option = element("option", NS_DATA).attr("label", *word);
            option.child(value(word)).build()
        });
        element("field", NS_DATA)
            .attr("var", var)
            .attr("type", kind)
            .children(values.iter().map(|v| value(v)))
            .children(offered)
            .build()
    });
    element("x", NS_DATA)
        .attr("type", kind)
        .children(fields)
        .build()
}

/// The submitted form within `parent`, if it is of this type.
pub(super) fn submitted<'a>(parent: &'a Element, form_type: &str) -> Option<&'a Element> {
    let form = parent.get_child("x", NS_DATA)?;
    let types = values(form, "FORM_TYPE")?;
    (types == [form_type]).then_some(form)
}

/// The values of a field that was sent; empty ones are left out.
pub(super) fn values(form: &Element, var: &str) -> Option<Vec<String>> {
    let mut fields = form.children().filter(|c| c.is("field", NS_DATA));
    let field = fields.find(|f| f.attr("var") == Some(var))?;
    let values = field.children().filter(|c| c.is("value", NS_DATA));
    Some(
        values
            .map(Element::text)
            .filter(|v| !v.is_empty())
            .collect(),
    )
}

/// Bare JIDs and domains as they stand in a form.
pub(super) fn jids(values: &[String]) -> Result<BTreeSet<BareJid>, StanzaError> {
    let read = |value: &String| BareJid::new(value).map_err(|_| Condition::NotAcceptable);
    let jids: BTreeSet<BareJid> = values.iter().map(read).collect::<Result<_, _>>()?;
    match jids.len() <= MAX_LIST {
        true => Ok(jids),
        false => Err(Condition::ResourceConstraint.into()),
    }
}
