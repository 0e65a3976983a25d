//! The `chancery` command: arguments in, exit code out.

use std::process::ExitCode;

/// A topology is many small allocations, most of which end together; the system's allocator takes half as long again.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    chancery::cli::main()
}
