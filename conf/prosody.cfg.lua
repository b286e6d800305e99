-- For Prosody: append to prosody.cfg.lua, then `prosodyctl check config` and restart.
-- Reloading is not enough for a new component port.

component_ports = { 5347 }
component_interfaces = { "127.0.0.1" }

-- Prosody leaves Nagle's algorithm on, which can hold a stanza back for about 25 ms.
network_settings = { nagle = false }

-- The domain of [xmpp] in offhook.toml.
Component "phone.example.org"
	component_secret = "the text in xmpp.secret"
