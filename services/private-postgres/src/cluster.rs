use std::{
    fs,
    os::unix::{fs::PermissionsExt, net::UnixStream},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tracing::{info, warn};

use crate::{Binaries, PostgresError, RunAs, find_binaries};

/// Longest wait for the server to accept connections: crash recovery of a large cluster takes its time.
const START_SECONDS_MAX: u64 = 120;
/// Longest wait for an orderly stop before the server is killed (it recovers from that at the next start).
pub const STOP_SECONDS_MAX: u64 = 30;
/// How often a process is looked at while it starts or stops.
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// Longest path of the folder that the socket's folder is made in, in bytes: the address of a UNIX socket has room for
/// 107, and `/oa-pg-XXXXXX/.s.PGSQL.5432` takes 27 of them.
pub const SOCKET_PARENT_BYTES_MAX: usize = 80;
/// Where the socket's folder is made if nobody says otherwise.
const SOCKET_PARENT_DEFAULT: &str = "/tmp";
/// Begins the name of the socket's folder.
const SOCKET_FOLDER_PREFIX: &str = "oa-pg-";
/// Starts that are tried while what a killed server left (a dying backend's shared memory) goes away.
const START_ATTEMPTS_MAX: u32 = 20;
const START_RETRY_INTERVAL: Duration = Duration::from_millis(250);

/// Whether a commit waits for the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// fsync before every commit answers.
    Durable,
    /// No fsync at all: for tests that kill no machine.
    TestsOnly,
}

/// Where a cluster and what belongs to it stand.
struct Place<'a> {
    sockets: &'a Path,
    folder: &'a Path,
    cluster: &'a Path,
}

/// A running cluster. Dropping it stops the server, within [`STOP_SECONDS_MAX`].
#[derive(Debug)]
pub struct PrivatePostgres {
    server: Child,
    socket_dir: TempDir,
}

impl PrivatePostgres {
    /// [`Self::start_with_socket_in`] `/tmp`.
    pub fn start(folder: &Path, durability: Durability) -> Result<Self, PostgresError> {
        Self::start_with_socket_in(Path::new(SOCKET_PARENT_DEFAULT), folder, durability)
    }

    /// Makes the cluster in `folder` if it is not there, and starts it with its socket in a new folder of `sockets`. A
    /// server that an earlier, killed run left behind over the same folder is stopped first. Returns once it accepts
    /// connections. Nothing is written outside of the two folders.
    pub fn start_with_socket_in(
        sockets: &Path,
        folder: &Path,
        durability: Durability,
    ) -> Result<Self, PostgresError> {
        let binaries = find_binaries()?;
        let run_as = RunAs::choose()?;
        let cluster = folder.join("cluster");
        if !cluster.join("PG_VERSION").is_file() {
            create(&binaries, &run_as, folder, &cluster)?;
        }
        close_to_others(&cluster)?;
        run_as.check_reachable(&cluster)?;
        let place = Place { sockets, folder, cluster: &cluster };
        for _ in 1..START_ATTEMPTS_MAX {
            stop_leftover(&cluster)?;
            match Self::launch(&binaries, &run_as, &place, durability) {
                Err(PostgresError::Program { output, .. })
                    if ["shared memory", "postmaster.pid"].iter().any(|trace| output.contains(trace)) =>
                {
                    thread::sleep(START_RETRY_INTERVAL);
                }
                result => return result,
            }
        }
        Self::launch(&binaries, &run_as, &place, durability)
    }

    fn launch(
        binaries: &Binaries,
        run_as: &RunAs,
        place: &Place<'_>,
        durability: Durability,
    ) -> Result<Self, PostgresError> {
        let Place { sockets, folder, cluster } = *place;
        let socket_dir = short_socket_dir(sockets, run_as)?;
        let log_path = folder.join("postgres.log");
        let log = fs::File::create(&log_path)
            .map_err(|e| PostgresError::io("cannot write the log", &log_path, e))?;
        let mut command = Command::new(&binaries.postgres);
        command.arg("-D").arg(cluster).arg("-k").arg(socket_dir.path()).args(["-h", ""]);
        for setting in settings(durability) {
            command.args(["-c", setting]);
        }
        // A process group of its own: the terminal's Ctrl-C must reach us first, not the database.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        run_as.apply(&mut command);
        let out = log.try_clone().map_err(|e| PostgresError::io("cannot write the log", &log_path, e))?;
        let server = command
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(log)
            .spawn()
            .map_err(|e| PostgresError::io("cannot start", &binaries.postgres, e))?;
        let mut started = Self { server, socket_dir };
        started.wait_ready(cluster, &log_path)?;
        info!(pid = started.server.id(), "private PostgreSQL accepts connections");
        Ok(started)
    }

    /// The folder of the UNIX socket, which is the `host` of a connection.
    pub fn socket_dir(&self) -> &Path {
        self.socket_dir.path()
    }

    /// A connection URL for `database`, user `postgres`: the superuser, whom no grant and no row security binds.
    pub fn url(&self, database: &str) -> String {
        self.url_as("postgres", database)
    }

    /// A connection URL for `database` as `role`, which needs no password: who may enter the socket's folder may be any.
    pub fn url_as(&self, role: &str, database: &str) -> String {
        url(self.socket_dir.path(), role, database)
    }

    /// [`Self::url`] of the server that another process runs over the cluster in `folder`, if one does.
    pub fn url_of_running(folder: &Path) -> Option<String> {
        // As the server itself was told.
        let cluster = folder.join("cluster").canonicalize().ok()?;
        let (_, socket_dir) = leftover(&cluster)?;
        Some(url(&socket_dir, "postgres", "postgres"))
    }

    pub fn pid(&self) -> u32 {
        self.server.id()
    }

    /// How the server ended, if it did although nobody stopped it.
    pub fn has_ended(&mut self) -> Option<ExitStatus> {
        self.server.try_wait().ok().flatten()
    }

    fn wait_ready(&mut self, cluster: &Path, log: &Path) -> Result<(), PostgresError> {
        let deadline = Instant::now() + Duration::from_secs(START_SECONDS_MAX);
        let socket = self.socket_dir.path().join(".s.PGSQL.5432");
        loop {
            // The last line of postmaster.pid says `ready` once recovery is over (src/include/utils/pidfile.h).
            let state = fs::read_to_string(cluster.join("postmaster.pid")).unwrap_or_default();
            let ready = state.lines().nth(7).is_some_and(|line| line.trim() == "ready");
            if ready && UnixStream::connect(&socket).is_ok() {
                return Ok(());
            }
            let exited = self.server.try_wait().ok().flatten();
            if let Some(status) = exited {
                let output = fs::read_to_string(log).unwrap_or_default();
                return Err(PostgresError::Program {
                    program: "postgres",
                    status: status.to_string(),
                    output,
                });
            }
            if Instant::now() > deadline {
                let log = log.display().to_string();
                return Err(PostgresError::NotReady { seconds: START_SECONDS_MAX, log });
            }
            thread::sleep(POLL_INTERVAL);
        }
    }
}

impl Drop for PrivatePostgres {
    fn drop(&mut self) {
        // Once it has been waited for, its number may be another's.
        if self.has_ended().is_some() {
            return;
        }
        // SIGINT is PostgreSQL's fast shutdown: sessions are ended, the cluster is checkpointed.
        if let Some(pid) = Pid::from_raw(self.server.id().cast_signed()) {
            let _ = kill_process(pid, Signal::INT);
        }
        let deadline = Instant::now() + Duration::from_secs(STOP_SECONDS_MAX);
        while Instant::now() < deadline {
            if !matches!(self.server.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(POLL_INTERVAL);
        }
        warn!(
            "PostgreSQL does not stop in {STOP_SECONDS_MAX} s and is killed; it recovers at the next start"
        );
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

fn url(socket_dir: &Path, role: &str, database: &str) -> String {
    let host = socket_dir.display().to_string().replace('/', "%2F");
    format!("postgres://{role}@{host}/{database}")
}

fn settings(durability: Durability) -> &'static [&'static str] {
    match durability {
        // Shared memory of its own files: a container's /dev/shm is small, or cannot be written.
        Durability::Durable => &[
            "fsync=on",
            "synchronous_commit=on",
            "max_connections=100",
            "shared_buffers=64MB",
            "dynamic_shared_memory_type=mmap",
        ],
        Durability::TestsOnly => &[
            "fsync=off",
            "synchronous_commit=off",
            "full_page_writes=off",
            "max_connections=200",
            "shared_buffers=32MB",
        ],
    }
}

fn create(binaries: &Binaries, run_as: &RunAs, folder: &Path, cluster: &Path) -> Result<(), PostgresError> {
    fs::create_dir_all(folder).map_err(|e| PostgresError::io("cannot make", folder, e))?;
    // initdb makes `cluster` from nothing: what a killed run left half-made goes first.
    if cluster.exists() {
        fs::remove_dir_all(cluster)
            .map_err(|e| PostgresError::io("cannot remove the half-made", cluster, e))?;
    }
    let staging = folder.join("cluster.new");
    if staging.exists() {
        fs::remove_dir_all(&staging)
            .map_err(|e| PostgresError::io("cannot remove the half-made", &staging, e))?;
    }
    fs::create_dir(&staging).map_err(|e| PostgresError::io("cannot make", &staging, e))?;
    run_as.own(&staging)?;
    run_as.check_reachable(&staging)?;
    let mut command = Command::new(&binaries.initdb);
    command
        .arg("-D")
        .arg(&staging)
        .args(["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--data-checksums"])
        .current_dir("/")
        .stdin(Stdio::null());
    run_as.apply(&mut command);
    let output = command.output().map_err(|e| PostgresError::io("cannot run", &binaries.initdb, e))?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        if text.contains("could not look up effective user ID") {
            return Err(PostgresError::NamelessUser { uid: rustix::process::geteuid().as_raw() });
        }
        return Err(PostgresError::Program {
            program: "initdb",
            status: output.status.to_string(),
            output: text,
        });
    }
    fs::rename(&staging, cluster).map_err(|e| PostgresError::io("cannot name the cluster", cluster, e))
}

/// A node that gives a volume to a group (Kubernetes' `fsGroup`) opens every folder on it to that group, and postgres
/// refuses a cluster that is open.
fn close_to_others(cluster: &Path) -> Result<(), PostgresError> {
    let mode = fs::metadata(cluster)
        .map_err(|e| PostgresError::io("cannot look at the cluster", cluster, e))?
        .permissions()
        .mode();
    if mode.trailing_zeros() >= 6 {
        return Ok(());
    }
    fs::set_permissions(cluster, fs::Permissions::from_mode(0o700))
        .map_err(|e| PostgresError::io("cannot close the cluster to others", cluster, e))
}

/// Trust authentication is confined by this folder: only its owner may enter.
fn short_socket_dir(parent: &Path, run_as: &RunAs) -> Result<TempDir, PostgresError> {
    if parent.as_os_str().len() > SOCKET_PARENT_BYTES_MAX {
        return Err(PostgresError::SocketPathTooLong { path: parent.display().to_string() });
    }
    let dir = tempfile::Builder::new()
        .prefix(SOCKET_FOLDER_PREFIX)
        .tempdir_in(parent)
        .map_err(|e| PostgresError::io("cannot make a socket folder in", parent, e))?;
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700))
        .map_err(|e| PostgresError::io("cannot close the socket folder", dir.path(), e))?;
    run_as.own(dir.path())?;
    Ok(dir)
}

/// Stops the server that a killed run left over this cluster, by the process id in its own pid file.
fn stop_leftover(cluster: &Path) -> Result<(), PostgresError> {
    if let Some((pid, old_socket_dir)) = leftover(cluster) {
        warn!(pid = pid.as_raw_nonzero().get(), "stops the PostgreSQL that an earlier run left behind");
        let _ = kill_process(pid, Signal::INT);
        let deadline = Instant::now() + Duration::from_secs(STOP_SECONDS_MAX);
        while leftover(cluster).is_some() {
            if Instant::now() > deadline {
                let output =
                    format!("process {} over {} does not stop", pid.as_raw_nonzero(), cluster.display());
                return Err(PostgresError::Program { program: "postgres", status: "running".into(), output });
            }
            thread::sleep(POLL_INTERVAL);
        }
        let name = old_socket_dir.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with(SOCKET_FOLDER_PREFIX) {
            let _ = fs::remove_dir_all(&old_socket_dir);
        }
    }
    remove_dead_pid_file(cluster)
}

/// A server that was killed leaves its pid file, and postgres refuses to start as long as any process has that number:
/// a zombie that nobody has collected, or, in a new container, a thread of ours. No postgres runs over this cluster, so
/// the file may go. Backends that outlive their server by a moment hold the shared memory, which postgres looks after
/// itself.
fn remove_dead_pid_file(cluster: &Path) -> Result<(), PostgresError> {
    let path = cluster.join("postmaster.pid");
    match fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(PostgresError::io("cannot remove the dead server's", &path, error))
        }
        _ => Ok(()),
    }
}

/// Process id and socket folder of a live postgres that names this cluster in its pid file.
fn leftover(cluster: &Path) -> Option<(Pid, PathBuf)> {
    let text = fs::read_to_string(cluster.join("postmaster.pid")).ok()?;
    let mut lines = text.lines();
    let pid: i32 = lines.next()?.trim().parse().ok()?;
    let socket_dir = lines.nth(3)?.trim();
    // The number may have gone to another process since: ask what it runs.
    let command_line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let ours = command_line
        .split(|b| *b == 0)
        .any(|arg| Path::new(std::ffi::OsStr::new(&*String::from_utf8_lossy(arg))) == cluster);
    ours.then(|| Some((Pid::from_raw(pid)?, PathBuf::from(socket_dir)))).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// That the server's own user can enter.
    fn folder() -> TempDir {
        let folder = tempfile::Builder::new().prefix("oa-test-").tempdir_in("/tmp").unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        folder
    }

    #[test]
    fn a_server_that_was_killed_with_its_parent_does_not_keep_the_next_from_starting() {
        let folder = folder();
        let first = PrivatePostgres::start(folder.path(), Durability::TestsOnly).unwrap();
        kill_process(Pid::from_raw(first.pid().cast_signed()).unwrap(), Signal::KILL).unwrap();
        // Never collected: it stays a zombie with the number in the pid file.
        std::mem::forget(first);
        PrivatePostgres::start(folder.path(), Durability::TestsOnly).unwrap();
    }

    #[test]
    fn a_pid_file_whose_number_went_to_another_process_does_not_keep_the_server_from_starting() {
        let folder = folder();
        drop(PrivatePostgres::start(folder.path(), Durability::TestsOnly).unwrap());
        let pid_file = folder.path().join("cluster/postmaster.pid");
        assert!(!pid_file.exists());
        // As after the kill of a container: in the next one, the number is somebody else's, who lives.
        let mut other = Command::new("sleep");
        RunAs::choose().unwrap().apply(&mut other);
        let mut other = other.arg("600").spawn().unwrap();
        let lines = format!("{}\ncluster\n0\n5432\n/tmp/oa-pg-gone\n\n0 0\nready\n", other.id());
        fs::write(&pid_file, lines).unwrap();
        let started = PrivatePostgres::start(folder.path(), Durability::TestsOnly);
        other.kill().unwrap();
        other.wait().unwrap();
        started.unwrap();
    }

    #[test]
    fn a_cluster_that_a_volume_has_opened_to_a_group_is_closed_and_starts() {
        let folder = folder();
        drop(PrivatePostgres::start(folder.path(), Durability::TestsOnly).unwrap());
        let cluster = folder.path().join("cluster");
        fs::set_permissions(&cluster, fs::Permissions::from_mode(0o2770)).unwrap();
        let _server = PrivatePostgres::start(folder.path(), Durability::TestsOnly).unwrap();
        assert_eq!(fs::metadata(&cluster).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn the_sockets_folder_may_be_as_long_as_the_limit_and_no_longer() {
        let (folder, sockets) = (folder(), folder());
        let beside = |bytes: usize| {
            let path = sockets.path().join("x".repeat(bytes - sockets.path().as_os_str().len() - 1));
            fs::create_dir(&path).unwrap();
            PrivatePostgres::start_with_socket_in(&path, folder.path(), Durability::TestsOnly)
        };
        let refused = beside(SOCKET_PARENT_BYTES_MAX + 1).map(|_| ());
        assert!(matches!(refused, Err(PostgresError::SocketPathTooLong { .. })), "{refused:?}");
        let mut server = beside(SOCKET_PARENT_BYTES_MAX).unwrap();
        assert!(server.socket_dir().starts_with(sockets.path()));
        assert_eq!(server.has_ended(), None);
        kill_process(Pid::from_raw(server.pid().cast_signed()).unwrap(), Signal::INT).unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        while server.has_ended().is_none() {
            assert!(Instant::now() < deadline, "the end of the server is seen");
            thread::sleep(POLL_INTERVAL);
        }
    }

    #[test]
    fn a_cluster_starts_stops_and_takes_over_what_a_killed_run_left() {
        let folder = folder();
        let first = PrivatePostgres::start(folder.path(), Durability::TestsOnly).unwrap();
        assert!(first.url("postgres").starts_with("postgres://postgres@%2Ftmp%2Foa-pg-"));
        let first_pid = first.pid();
        std::mem::forget(first);
        let second = PrivatePostgres::start(folder.path(), Durability::TestsOnly).unwrap();
        assert_ne!(second.pid(), first_pid);
        let socket = second.socket_dir().to_owned();
        drop(second);
        assert!(!socket.exists());
    }
}
