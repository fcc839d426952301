use std::{
    fs, io,
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread::{self, JoinHandle},
};

/// Servers that end when this is dropped, and when this process dies without dropping anything.
///
/// Linux sends the death signal when the *thread* that started a process ends, and a test's thread ends with the first
/// test: hence one thread that starts them all and stays.
pub(crate) struct Processes {
    orders: Option<mpsc::Sender<Order>>,
    keeper: Option<JoinHandle<()>>,
}

enum Order {
    Start { name: &'static str, command: Box<Command>, answer: mpsc::Sender<io::Result<()>> },
    FirstEnded { answer: mpsc::Sender<Option<&'static str>> },
}

impl Processes {
    pub(crate) fn new() -> io::Result<Self> {
        let (orders, received) = mpsc::channel();
        let keeper = thread::Builder::new().name("processes".to_owned()).spawn(move || keep(&received))?;
        Ok(Self { orders: Some(orders), keeper: Some(keeper) })
    }

    /// Starts a program in `folder`; what it says goes to `NAME.log` there.
    pub(crate) fn start(
        &self,
        name: &'static str,
        program: &Path,
        arguments: &[String],
        folder: &Path,
    ) -> io::Result<()> {
        let log = fs::File::create(folder.join(format!("{name}.log")))?;
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(program).args(arguments);
        // A process group of its own: Ctrl-C must reach the test, not its servers.
        command.process_group(0).current_dir(folder).env("HOME", folder);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let (answer, answered) = mpsc::channel();
        self.order(Order::Start { name, command: Box::new(command), answer });
        answered.recv().map_err(io::Error::other)?
    }

    /// The first of them that is no longer running.
    pub(crate) fn first_ended(&self) -> Option<&'static str> {
        let (answer, answered) = mpsc::channel();
        self.order(Order::FirstEnded { answer });
        answered.recv().ok().flatten()
    }

    fn order(&self, order: Order) {
        if let Some(orders) = &self.orders {
            let _ = orders.send(order);
        }
    }
}

fn keep(orders: &mpsc::Receiver<Order>) {
    let mut running: Vec<(&'static str, Child)> = Vec::new();
    for order in orders {
        match order {
            Order::Start { name, mut command, answer } => {
                let started = command.spawn().map(|child| running.push((name, child)));
                let _ = answer.send(started);
            }
            Order::FirstEnded { answer } => {
                let ended = |(name, child): &mut (&'static str, Child)| {
                    (!matches!(child.try_wait(), Ok(None))).then_some(*name)
                };
                let _ = answer.send(running.iter_mut().find_map(ended));
            }
        }
    }
    // Their data goes away with them: no need to let them end in peace.
    for (_, child) in running.iter_mut().rev() {
        let _ = child.kill();
        let _ = child.wait();
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        self.orders.take();
        if let Some(keeper) = self.keeper.take() {
            let _ = keeper.join();
        }
    }
}
