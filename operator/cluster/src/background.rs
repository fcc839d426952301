use std::{
    convert::Infallible,
    io,
    thread::{self, JoinHandle},
};

use tokio::{runtime, sync::oneshot};

/// A task on a thread and a runtime of its own: it goes on while a test blocks its thread, and outlives the runtime of the
/// test that began it. It ends when this is dropped.
pub(crate) struct Background {
    stop: Option<oneshot::Sender<Infallible>>,
    thread: Option<JoinHandle<()>>,
}

impl Background {
    pub(crate) fn start<F>(name: &str, task: impl FnOnce() -> F + Send + 'static) -> io::Result<Self>
    where
        F: Future<Output = ()>,
    {
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel();
        let run = move || {
            runtime.block_on(async {
                tokio::select! {
                    () = task() => (),
                    _ = stopped => (),
                }
            });
            runtime.shutdown_background();
        };
        let thread = thread::Builder::new().name(name.to_owned()).spawn(run)?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
