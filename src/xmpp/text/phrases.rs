//! The table of phrases. A phrase that lacks a language does not compile.

use super::Language;
use crate::address::contact::AddressError;
use crate::leg::EndReason;

macro_rules! phrases {
    ($($(#[$doc:meta])* $name:ident $english:literal $german:literal $french:literal $spanish:literal,)*) => {
        /// Something that people read.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Phrase { $($(#[$doc])* $name,)* }

        impl Phrase {
            /// Every phrase, for the page that a test prints.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The phrase's name in the table.
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* }
            }

            /// The phrase in a language; what stands in braces is filled in by who says it.
            pub fn text(self, language: Language) -> &'static str {
                match self {
                    $(Self::$name => match language {
                        Language::English => $english,
                        Language::German => $german,
                        Language::French => $french,
                        Language::Spanish => $spanish,
                    },)*
                }
            }
        }
    };
}

phrases! {
    /// A call failed: busy.
    Busy
        "The line is busy."
        "Der Anschluss ist besetzt."
        "La ligne est occupée."
        "La línea está ocupada.",
    /// A call failed: declined.
    Declined
        "The call was declined."
        "Der Anruf wurde abgelehnt."
        "L’appel a été refusé."
        "La llamada fue rechazada.",
    /// A call failed: nobody answered.
    NoAnswer
        "Nobody answered."
        "Niemand hat abgenommen."
        "Personne n’a répondu."
        "Nadie respondió.",
    /// A call failed: not reachable for the time being.
    Unavailable
        "The person you called cannot be reached for the time being."
        "Der Teilnehmer ist zurzeit nicht erreichbar."
        "Votre correspondant est injoignable pour le moment."
        "La persona a la que llama no está disponible en este momento.",
    /// A call failed: no such number.
    NotFound
        "This number or address is not in service."
        "Diese Nummer oder Adresse ist nicht vergeben."
        "Ce numéro ou cette adresse n’est pas en service."
        "Este número o dirección no está en servicio.",
    /// A call failed: not allowed.
    Forbidden
        "You are not allowed to make this call."
        "Sie dürfen diesen Anruf nicht führen."
        "Vous n’êtes pas autorisé à passer cet appel."
        "No tiene permiso para hacer esta llamada.",
    /// A call failed: no codec or transport in common.
    NotAcceptable
        "Your app and the telephone network have no kind of sound in common."
        "Ihre App und das Telefonnetz haben keine gemeinsame Tonübertragung."
        "Votre application et le réseau téléphonique n’ont aucun format audio en commun."
        "Su aplicación y la red telefónica no tienen ningún formato de sonido en común.",
    /// A call failed: unprotected, or a wrong certificate.
    Security
        "The call could not be encrypted as it must be."
        "Der Anruf konnte nicht wie vorgeschrieben verschlüsselt werden."
        "L’appel n’a pas pu être chiffré comme il le doit."
        "La llamada no se pudo cifrar como es debido.",
    /// A call failed or broke off: no media connection.
    Connectivity
        "The sound could not be connected."
        "Die Tonverbindung kam nicht zustande oder brach ab."
        "La liaison audio n’a pas pu être établie."
        "No se pudo establecer la conexión de sonido.",
    /// A call broke off: one side sent nothing any more.
    Silent
        "The call was ended because no more sound came."
        "Der Anruf wurde beendet, weil kein Ton mehr kam."
        "L’appel a été interrompu car plus aucun son n’arrivait."
        "La llamada terminó porque dejó de llegar sonido.",
    /// A call failed: the telephone network.
    NoRoute
        "The telephone network cannot be reached. Please try again later."
        "Das Telefonnetz ist nicht erreichbar. Bitte versuchen Sie es später noch einmal."
        "Le réseau téléphonique est injoignable. Veuillez réessayer plus tard."
        "No se puede acceder a la red telefónica. Inténtelo de nuevo más tarde.",
    /// A call failed: a limit.
    Overloaded
        "Too many calls at the moment. Please try again later."
        "Zurzeit sind es zu viele Anrufe. Bitte versuchen Sie es später noch einmal."
        "Trop d’appels en ce moment. Veuillez réessayer plus tard."
        "Hay demasiadas llamadas en este momento. Inténtelo de nuevo más tarde.",
    /// A call broke off: as long as a call may be.
    TooLong
        "The call has reached the longest time that a call may last."
        "Der Anruf hat die längste erlaubte Dauer erreicht."
        "L’appel a atteint la durée maximale autorisée."
        "La llamada ha alcanzado la duración máxima permitida.",
    /// A call broke off: the gateway stops.
    Shutdown
        "The telephone service is being restarted. Please call again in a moment."
        "Der Telefondienst wird neu gestartet. Bitte rufen Sie gleich noch einmal an."
        "Le service téléphonique redémarre. Veuillez rappeler dans un instant."
        "El servicio telefónico se está reiniciando. Vuelva a llamar en un momento.",
    /// A call failed for a reason that nobody told.
    Failed
        "The call failed."
        "Der Anruf ist fehlgeschlagen."
        "L’appel a échoué."
        "La llamada falló.",
    /// A call that could not be transferred; why follows.
    NotTransferred
        "The call was not transferred."
        "Der Anruf wurde nicht weitergegeben."
        "L’appel n’a pas été transféré."
        "La llamada no se transfirió.",
    /// A call that nobody answered.
    Missed
        "Missed call from {who}"
        "Verpasster Anruf von {who}"
        "Appel manqué : {who}"
        "Llamada perdida de {who}",
    /// A caller who does not say who he is.
    Anonymous
        "a withheld number"
        "einer unterdrückten Nummer"
        "numéro masqué"
        "un número oculto",
    /// A text that is no keys, to a contact.
    CallsOnly
        "This contact takes calls only, no text. In a call, digits, * and # are pressed as keys."
        "Dieser Kontakt nimmt nur Anrufe an, keinen Text. Im Anruf werden Ziffern, * und # als Tasten gedrückt."
        "Ce contact n’accepte que des appels, pas de texte. Pendant un appel, les chiffres, * et # sont transmis comme touches."
        "Este contacto solo acepta llamadas, no texto. Durante una llamada, las cifras, * y # se pulsan como teclas.",
    /// A text was not sent: its length.
    TextTooLong
        "The text is too long for the telephone network. Please send it in parts."
        "Der Text ist zu lang für das Telefonnetz. Bitte senden Sie ihn in Teilen."
        "Le texte est trop long pour le réseau téléphonique. Veuillez l’envoyer en plusieurs parties."
        "El texto es demasiado largo para la red telefónica. Envíelo por partes.",
    /// A text was not sent: not allowed.
    TextForbidden
        "You are not allowed to write to this contact."
        "Sie dürfen diesem Kontakt nicht schreiben."
        "Vous n’êtes pas autorisé à écrire à ce contact."
        "No tiene permiso para escribir a este contacto.",
    /// A text was not taken: the reader is not there.
    TextUnavailable
        "The person you wrote to cannot be reached for the time being."
        "Der Empfänger ist zurzeit nicht erreichbar."
        "Votre correspondant est injoignable pour le moment."
        "La persona a la que escribe no está disponible en este momento.",
    /// A text was not sent: a limit.
    TextTooMany
        "Too many texts at the moment. Please try again later."
        "Zurzeit sind es zu viele Texte. Bitte versuchen Sie es später noch einmal."
        "Trop de textes en ce moment. Veuillez réessayer plus tard."
        "Hay demasiados textos en este momento. Inténtelo de nuevo más tarde.",
    /// A text was sent, and nobody said that it has come.
    TextUnanswered
        "Nobody has confirmed the text; it may have arrived or not."
        "Niemand hat den Text bestätigt; vielleicht ist er angekommen, vielleicht nicht."
        "Personne n’a confirmé le texte ; il est peut-être arrivé, ou non."
        "Nadie ha confirmado el texto; puede que haya llegado o no.",
    /// A text was refused for another reason.
    TextRefused
        "The text was not delivered."
        "Der Text wurde nicht zugestellt."
        "Le texte n’a pas été remis."
        "El texto no se entregó.",
    /// A text that is encrypted for a client.
    TextEncrypted
        "A telephone cannot read encrypted texts. Please switch encryption off for this contact."
        "Ein Telefon kann keine verschlüsselten Texte lesen. Bitte schalten Sie die Verschlüsselung für diesen Kontakt aus."
        "Un téléphone ne peut pas lire de textes chiffrés. Veuillez désactiver le chiffrement pour ce contact."
        "Un teléfono no puede leer textos cifrados. Desactive el cifrado para este contacto.",
    /// What is asked of people.
    Prompt
        "Phone number or SIP address"
        "Telefonnummer oder SIP-Adresse"
        "Numéro de téléphone ou adresse SIP"
        "Número de teléfono o dirección SIP",
    /// How a number is typed where the country is known.
    PromptAtHome
        "Enter a phone number as you would dial it, or a SIP address."
        "Geben Sie eine Telefonnummer ein, wie Sie sie wählen würden, oder eine SIP-Adresse."
        "Saisissez un numéro de téléphone comme vous le composeriez, ou une adresse SIP."
        "Escriba un número de teléfono como lo marcaría, o una dirección SIP.",
    /// How a number is typed where the country is not known.
    PromptAbroad
        "Enter a phone number with + and its country code, or a SIP address."
        "Geben Sie eine Telefonnummer mit + und Landesvorwahl ein, oder eine SIP-Adresse."
        "Saisissez un numéro de téléphone avec + et l’indicatif du pays, ou une adresse SIP."
        "Escriba un número de teléfono con + y el prefijo del país, o una dirección SIP.",
    /// Nothing was typed.
    AddressEmpty
        "Write a phone number such as +15551234567 or a SIP address such as romeo@example.net."
        "Schreiben Sie eine Telefonnummer wie +15551234567 oder eine SIP-Adresse wie romeo@example.net."
        "Écrivez un numéro de téléphone comme +15551234567 ou une adresse SIP comme romeo@example.net."
        "Escriba un número de teléfono como +15551234567 o una dirección SIP como romeo@example.net.",
    /// A number for emergencies.
    AddressEmergency
        "{what} is an emergency number: emergency calls are not possible here, use a telephone."
        "{what} ist eine Notrufnummer: Notrufe sind hier nicht möglich, nehmen Sie ein Telefon."
        "{what} est un numéro d’urgence : les appels d’urgence ne sont pas possibles ici, prenez un téléphone."
        "{what} es un número de emergencia: aquí no se puede llamar a emergencias, use un teléfono.",
    /// A number that does not say its country.
    AddressNoCountry
        "The number {what} needs its country code: write + and the country code first."
        "Der Nummer {what} fehlt die Landesvorwahl: Schreiben Sie zuerst + und die Landesvorwahl."
        "Il manque l’indicatif du pays au numéro {what} : écrivez d’abord + et l’indicatif."
        "Al número {what} le falta el prefijo del país: escriba primero + y el prefijo.",
    /// A number that no country has.
    AddressNotE164
        "{what} is not a phone number: after the + come 2 to 15 digits, and the first is not 0."
        "{what} ist keine Telefonnummer: Nach dem + stehen 2 bis 15 Ziffern, und die erste ist keine 0."
        "{what} n’est pas un numéro de téléphone : après le + viennent 2 à 15 chiffres, dont le premier n’est pas 0."
        "{what} no es un número de teléfono: después del + van de 2 a 15 cifras, y la primera no es 0.",
    /// A number without its area code.
    AddressIncomplete
        "{what} is not a whole phone number: write its area code too, or + and the country code."
        "{what} ist keine vollständige Telefonnummer: Schreiben Sie auch die Ortsvorwahl oder + und die Landesvorwahl."
        "{what} n’est pas un numéro de téléphone complet : écrivez aussi l’indicatif régional, ou + et l’indicatif du pays."
        "{what} no es un número de teléfono completo: escriba también el prefijo de zona, o + y el prefijo del país.",
    /// A country code that nobody has.
    AddressNoSuchCountry
        "No country has the code that {what} begins with."
        "Kein Land hat die Vorwahl, mit der {what} beginnt."
        "Aucun pays n’a l’indicatif par lequel commence {what}."
        "Ningún país tiene el prefijo con el que empieza {what}.",
    /// A number of a length that its country does not have.
    AddressWrongLength
        "{what} is too short or too long for a phone number of its country."
        "{what} ist für eine Telefonnummer ihres Landes zu kurz oder zu lang."
        "{what} est trop court ou trop long pour un numéro de téléphone de son pays."
        "{what} es demasiado corto o demasiado largo para un número de teléfono de su país.",
    /// Letters or signs in a number.
    AddressNotADigit
        "There is {what} in the phone number; write it in digits."
        "In der Telefonnummer steht {what}; schreiben Sie sie in Ziffern."
        "Il y a {what} dans le numéro de téléphone ; écrivez-le en chiffres."
        "En el número de teléfono hay {what}; escríbalo en cifras.",
    /// A number with an extension.
    AddressExtension
        "Write the keys to be dialled after the answer behind a comma: digits, * and #."
        "Schreiben Sie die Tasten, die nach dem Abheben gewählt werden sollen, hinter ein Komma: Ziffern, * und #."
        "Écrivez les touches à composer après la réponse derrière une virgule : chiffres, * et #."
        "Escriba las teclas que se marcarán tras la respuesta después de una coma: cifras, * y #.",
    /// A name without a host.
    AddressNoHost
        "{what} is neither a phone number nor a SIP address such as romeo@example.net."
        "{what} ist weder eine Telefonnummer noch eine SIP-Adresse wie romeo@example.net."
        "{what} n’est ni un numéro de téléphone ni une adresse SIP comme romeo@example.net."
        "{what} no es un número de teléfono ni una dirección SIP como romeo@example.net.",
    /// No host behind the `@`.
    AddressBadHost
        "{what} is not a host name or address."
        "{what} ist kein Rechnername und keine Adresse."
        "{what} n’est ni un nom ni une adresse de serveur."
        "{what} no es un nombre ni una dirección de servidor.",
    /// A user part that cannot be written.
    AddressBadUser
        "The part before the @ cannot be used in an address."
        "Der Teil vor dem @ kann in keiner Adresse stehen."
        "La partie avant le @ ne peut pas servir dans une adresse."
        "La parte anterior a la @ no se puede usar en una dirección.",
    /// Another kind of URI.
    AddressScheme
        "{what}: addresses cannot be called here, only phone numbers and SIP addresses."
        "{what}:-Adressen kann man hier nicht anrufen, nur Telefonnummern und SIP-Adressen."
        "Les adresses {what}: ne peuvent pas être appelées ici, seulement les numéros de téléphone et les adresses SIP."
        "Aquí no se puede llamar a direcciones {what}:, solo a números de teléfono y direcciones SIP.",
    /// Longer than a JID.
    AddressTooLong
        "The address is too long."
        "Die Adresse ist zu lang."
        "L’adresse est trop longue."
        "La dirección es demasiado larga.",
}

/// What somebody reads whose call ended so; `None` where he knows it, as it was his own doing.
pub fn failure(reason: EndReason) -> Option<Phrase> {
    Some(match reason {
        EndReason::Hangup
        | EndReason::Cancelled
        | EndReason::AnsweredElsewhere
        | EndReason::PeerGone => return None,
        EndReason::Busy => Phrase::Busy,
        EndReason::Declined => Phrase::Declined,
        EndReason::NoAnswer => Phrase::NoAnswer,
        EndReason::Unavailable => Phrase::Unavailable,
        EndReason::NotFound => Phrase::NotFound,
        EndReason::Forbidden => Phrase::Forbidden,
        EndReason::NotAcceptable => Phrase::NotAcceptable,
        EndReason::Security => Phrase::Security,
        EndReason::Connectivity => Phrase::Connectivity,
        EndReason::Silent => Phrase::Silent,
        EndReason::NoRoute => Phrase::NoRoute,
        EndReason::Overloaded => Phrase::Overloaded,
        EndReason::TooLong => Phrase::TooLong,
        EndReason::Shutdown => Phrase::Shutdown,
        EndReason::ProtocolError | EndReason::Failed => Phrase::Failed,
    })
}

/// What is wrong with an address, for the person who wrote it.
pub fn address_error(error: &AddressError, language: Language) -> String {
    let (phrase, what) = match error {
        AddressError::Empty => (Phrase::AddressEmpty, String::new()),
        AddressError::Emergency(number) => (Phrase::AddressEmergency, number.clone()),
        AddressError::NoCountry(number) => (Phrase::AddressNoCountry, number.clone()),
        AddressError::NotE164(number) => (Phrase::AddressNotE164, number.clone()),
        AddressError::Incomplete(number) => (Phrase::AddressIncomplete, number.clone()),
        AddressError::NoSuchCountry(number) => (Phrase::AddressNoSuchCountry, number.clone()),
        AddressError::WrongLength(number) => (Phrase::AddressWrongLength, number.clone()),
        AddressError::NotADigit(sign) => (Phrase::AddressNotADigit, format!("{sign:?}")),
        AddressError::Extension => (Phrase::AddressExtension, String::new()),
        AddressError::NoHost(text) => (Phrase::AddressNoHost, text.clone()),
        AddressError::BadHost(host) => (Phrase::AddressBadHost, host.clone()),
        AddressError::BadUser => (Phrase::AddressBadUser, String::new()),
        AddressError::Scheme(scheme) => (Phrase::AddressScheme, scheme.clone()),
        AddressError::TooLong => (Phrase::AddressTooLong, String::new()),
    };
    phrase.text(language).replace("{what}", &what)
}
