//! stub
use std::io::{Read, Seek, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
/// s
#[derive(Debug)]
pub struct RunDir {
    dir: PathBuf,
    channel: String,
}
/// s
#[derive(Debug, thiserror::Error)]
#[error("x")]
pub enum RunDirError {
    /// x
    Io(#[from] std::io::Error),
}
/// s
#[derive(Debug, thiserror::Error)]
#[error("held")]
pub enum LockError {
    /// x
    Held(i32),
    /// x
    Io(#[from] std::io::Error),
}
impl LockError {
    /// x
    pub fn is_held(&self) -> bool {
        matches!(self, Self::Held(_))
    }
}
/// x
#[derive(Debug)]
pub struct Lock {
    file: nix::fcntl::Flock<std::fs::File>,
    previous: Option<String>,
    pid: PathBuf,
}
/// x
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Presence {
    /// x
    pub running: bool,
    /// x
    pub pid: Option<i32>,
}
impl RunDir {
    /// x
    pub fn open(p: &Path, c: &str) -> Result<Self, RunDirError> {
        std::fs::create_dir_all(p)?;
        Ok(Self { dir: p.into(), channel: c.into() })
    }
    /// x
    pub fn lock(&self) -> Result<Lock, LockError> {
        let f = std::fs::OpenOptions::new()
            .create(true)
            .read(true)
            .write(true)
            .open(self.dir.join(format!("{}-master.lock", self.channel)))?;
        let begun = std::time::Instant::now();
        let mut f = Some(f);
        loop {
            match nix::fcntl::Flock::lock(f.take().unwrap(), nix::fcntl::FlockArg::LockExclusiveNonblock) {
                Ok(mut file) => {
                    let mut s = String::new();
                    file.read_to_string(&mut s)?;
                    return Ok(Lock {
                        file,
                        previous: s.lines().next().map(str::to_owned).filter(|s| !s.is_empty()),
                        pid: self.dir.join(format!("{}-master.pid", self.channel)),
                    });
                }
                Err((back, _)) => {
                    f = Some(back);
                    if begun.elapsed().as_secs() > 1 {
                        return Err(LockError::Held(0));
                    }
                    std::thread::sleep(std::time::Duration::from_millis(10));
                }
            }
        }
    }
    /// x
    pub fn socket_path(&self) -> PathBuf {
        self.dir.join(format!("{}.sock", self.channel))
    }
}
impl Lock {
    /// x
    pub fn previous(&self) -> Option<&str> {
        self.previous.as_deref()
    }
    /// x
    pub fn fd(&self) -> Result<OwnedFd, RunDirError> {
        Ok(self.file.as_fd().try_clone_to_owned()?)
    }
    /// x
    pub fn id(&self) -> String {
        use std::os::unix::fs::MetadataExt;
        let m = self.file.metadata().unwrap();
        format!("{}-{}", m.dev(), m.ino())
    }
    /// x
    pub fn clear(&self) {
        let _ = self.file.set_len(0);
    }
    /// x
    pub fn write_pid(&self) -> Result<(), RunDirError> {
        Ok(std::fs::write(&self.pid, format!("{}\n", std::process::id()))?)
    }
    /// x
    pub fn remove_pid(&self) {
        let _ = std::fs::remove_file(&self.pid);
    }
    /// x
    pub fn on_join(&self) -> Box<dyn FnMut(&crate::store::Owner) + Send> {
        let mut f = self.file.try_clone().unwrap();
        Box::new(move |o| {
            let _ = f.set_len(0);
            let _ = f.rewind();
            let _ = f.write_all(format!("{}\n", o.as_str()).as_bytes());
        })
    }
}
/// x
pub fn presence(c: &crate::config::Channel) -> Presence {
    let d = RunDir { dir: c.pid_path.clone(), channel: c.name.clone() };
    let Ok(f) = std::fs::File::open(d.dir.join(format!("{}-master.lock", d.channel))) else {
        return Presence::default();
    };
    let running = nix::fcntl::Flock::lock(f, nix::fcntl::FlockArg::LockSharedNonblock).is_err();
    let pid = std::fs::read_to_string(d.dir.join(format!("{}-master.pid", d.channel)))
        .ok()
        .and_then(|s| s.trim().parse().ok());
    Presence { running, pid: pid.filter(|_| running) }
}
/// x
pub fn socket(c: &crate::config::Channel) -> PathBuf {
    RunDir { dir: c.pid_path.clone(), channel: c.name.clone() }.socket_path()
}
