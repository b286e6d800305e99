//! The table of phrases. A phrase that lacks a language does not compile.

use super::Language;
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
