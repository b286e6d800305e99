//! What operators and newcomers see of the gateway at work. Knows messages by their outside only:
//! XML names and first lines, never their meaning.

pub mod ladder;
