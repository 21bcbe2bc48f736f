//! A worker process and the master's end of its socket.

use std::io::{BufRead, BufReader, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};

use crate::wait::WAIT_DEADLINE;

/// A worker process with its socket; killed when dropped.
pub(crate) struct Worker {
    process: Child,
    socket: UnixStream,
    incoming: BufReader<UnixStream>,
}

impl Worker {
    /// Starts a worker with its socket at descriptor 3, as a master does.
    pub(crate) fn start(slots: usize) -> Self {
        let (socket, theirs) = UnixStream::pair().unwrap();
        socket.set_read_timeout(Some(WAIT_DEADLINE)).unwrap();
        // The shell moves the socket from standard input to descriptor 3.
        let process = Command::new("sh")
            .args([
                "-c",
                "exec \"$0\" __worker --demo-jobs 3<&0 </dev/null",
                std::env::current_exe().unwrap().to_str().unwrap(),
            ])
            .env("AINT_QUEUE_FD", "3")
            .env("AINT_QUEUE_SLOTS", slots.to_string())
            .env("AINT_QUEUE_CHANNEL", "default")
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let incoming = BufReader::new(socket.try_clone().unwrap());
        Self { process, socket, incoming }
    }

    /// Sends a line to the worker.
    pub(crate) fn send(&mut self, line: &str) {
        self.socket.write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    /// The next line of the worker; `None` when it has closed the socket.
    pub(crate) fn receive(&mut self) -> Option<String> {
        let mut line = String::new();
        let length = self.incoming.read_line(&mut line).expect("the worker speaks or hangs up in time");
        (length > 0).then(|| line.trim_end_matches('\n').to_owned())
    }

    /// Closes the socket, as the death of a master does.
    pub(crate) fn close_socket(&self) {
        self.socket.shutdown(Shutdown::Both).unwrap();
    }

    /// Waits for the exit of the worker; true for exit code 0.
    pub(crate) fn exits_cleanly(mut self) -> bool {
        self.process.wait().unwrap().success()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // An error means that the worker has already exited.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
