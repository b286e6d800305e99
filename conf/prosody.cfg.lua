-- For Prosody, in two parts. Afterwards `prosodyctl check config`, and restart: reloading is not
-- enough for a new component port.

-- 1. Above the first VirtualHost line of prosody.cfg.lua. Further down they would be options of
--    that host only, and have no effect.
component_ports = { 5347 }
component_interfaces = { "127.0.0.1" }
-- Prosody leaves Nagle's algorithm on, which can hold a stanza back for about 25 ms.
network_settings = { nagle = false }

-- 2. At the end. The domain is that of [xmpp] in offhook.toml.
Component "phone.example.org"
	component_secret = "the text in xmpp.secret"

-- 3. If there is a [mix] section: its domain.
-- Component "mix.example.org"
-- 	component_secret = "the text in xmpp.secret"
