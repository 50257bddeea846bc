"""What happens now, told to those who look on: a WebSocket and its twin over server-sent events.

Owns: no rows. The protocol: cursors, messages, who may listen to what, and one poller a process
that asks the database what changed for the organizations that somebody listens to.

Never: writes a row but the note that an API key was used, costs a writer anything, tells an
organization's facts to anybody who may not read them, or says less than it promised: after a cut a
listener gets what it missed, once.
"""
