//! The `chancery` command: arguments in, exit code out.

use std::process::ExitCode;

/// A build is many small allocations, most of which end together, which costs less than with the system's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    chancery::cli::main()
}
