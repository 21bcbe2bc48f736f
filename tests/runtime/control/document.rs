//! The transcripts of `docs/control-socket.md`, said to a real master.
