//! The program: everything is in the library.

/// Steps are many small texts that come and go on all threads: the system's allocator took a third
/// of the time that a step costs.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    rethread::cli::main()
}
