//! How a worker shuts itself in, before it reads anything: limits, no files, no network, hardly any system call.
//!
//! What this kernel does not have is reported, not silently missed: the daemon logs it and `soard status` shows it.

use std::collections::BTreeMap;
use std::fs;

use landlock::{ABI, Access, AccessFs, AccessNet, Ruleset, RulesetAttr, RulesetStatus, Scope};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::time::{ClockId, clock_gettime};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
};

/// Memory that scripts of one worker have beside their stack.
pub const HEAP_BYTES_MAX: u64 = 192 * 1024 * 1024;

/// Processor time of one evaluation, in whole seconds as the kernel counts: at most this, at least one less. A script's
/// million operations need a fraction of a second.
pub const CPU_SECS_MAX: u64 = 2;

/// Restricts the process as long as it has one thread, which later ones inherit. Gives what could not be had.
pub fn before_threads(stack_bytes: usize) -> Vec<String> {
    let mut lacks = Vec::new();
    // When memory runs out, a worker goes before the daemon does.
    if fs::write("/proc/self/oom_score_adj", "1000").is_err() {
        lacks.push("first choice when memory runs out".to_owned());
    }
    let memory = address_space().map(|now| now + HEAP_BYTES_MAX + stack_bytes as u64);
    let limits = [(Resource::As, memory), (Resource::Core, Some(0)), (Resource::Fsize, Some(0))];
    if limits.into_iter().any(|(resource, limit)| limit.is_none_or(|limit| limited(resource, limit).is_err())) {
        lacks.push("limits of memory and files".to_owned());
    }
    match no_paths() {
        Ok(RulesetStatus::FullyEnforced) => {}
        Ok(RulesetStatus::PartiallyEnforced) => lacks.push("landlock (parts of it)".to_owned()),
        Ok(RulesetStatus::NotEnforced) | Err(_) => lacks.push("landlock".to_owned()),
    }
    if limited(Resource::Nofile, OPEN_FILES_MAX).is_err() {
        lacks.push("limit of open files".to_owned());
    }
    lacks
}

/// The socket twice, and the three standard descriptors.
const OPEN_FILES_MAX: u64 = 5;

/// Leaves the system calls that memory, the socket and the end of the process need, for all threads.
pub fn system_calls() -> Vec<String> {
    let filtered = filter().ok().and_then(|program| seccompiler::apply_filter_all_threads(&program).ok());
    if filtered.is_some() { Vec::new() } else { vec!["seccomp".to_owned()] }
}

/// Sets the end of the processor time for what comes next; past it the kernel kills the worker.
pub fn grant_cpu() {
    let used = u64::try_from(clock_gettime(ClockId::ProcessCPUTime).tv_sec).unwrap_or_default();
    // The kernel counts whole seconds. A refusal leaves the earlier, stricter limit.
    let limit = Rlimit { current: Some(used + CPU_SECS_MAX), ..getrlimit(Resource::Cpu) };
    let _ = setrlimit(Resource::Cpu, limit);
}

fn limited(resource: Resource, limit: u64) -> rustix::io::Result<()> {
    setrlimit(resource, Rlimit { current: Some(limit), maximum: Some(limit) })
}

/// Bytes of address space in use.
fn address_space() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmSize:"))?;
    Some(line.trim().trim_end_matches(" kB").parse::<u64>().ok()? * 1024)
}

/// No path, no TCP, no abstract socket, no signal to others.
fn no_paths() -> Result<RulesetStatus, landlock::RulesetError> {
    let newest = ABI::V6;
    let ruleset = Ruleset::default()
        .handle_access(AccessFs::from_all(newest))?
        .handle_access(AccessNet::from_all(newest))?
        .scope(Scope::from_all(newest))?;
    Ok(ruleset.create()?.restrict_self()?.ruleset)
}

fn filter() -> Result<BpfProgram, seccompiler::BackendError> {
    let always = [
        libc::SYS_read,
        libc::SYS_write,
        libc::SYS_writev,
        libc::SYS_recvfrom,
        libc::SYS_sendto,
        libc::SYS_close,
        libc::SYS_brk,
        libc::SYS_munmap,
        libc::SYS_mremap,
        libc::SYS_madvise,
        libc::SYS_futex,
        libc::SYS_sched_yield,
        libc::SYS_nanosleep,
        libc::SYS_clock_nanosleep,
        libc::SYS_clock_gettime,
        libc::SYS_getrandom,
        libc::SYS_getpid,
        libc::SYS_gettid,
        libc::SYS_tgkill,
        libc::SYS_rt_sigaction,
        libc::SYS_rt_sigprocmask,
        libc::SYS_rt_sigreturn,
        libc::SYS_sigaltstack,
        libc::SYS_restart_syscall,
        libc::SYS_exit,
        libc::SYS_exit_group,
    ];
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = always.into_iter().map(|call| (call, Vec::new())).collect();
    let executable = u64::from(libc::PROT_EXEC.unsigned_abs());
    let never_executable = || argument(2, SeccompCmpOp::MaskedEq(executable), 0);
    rules.insert(libc::SYS_mmap, vec![never_executable()?]);
    rules.insert(libc::SYS_mprotect, vec![never_executable()?]);
    // Its own limit of processor time, and nobody else's.
    let own_cpu =
        vec![condition(0, SeccompCmpOp::Eq, 0)?, condition(1, SeccompCmpOp::Eq, u64::from(libc::RLIMIT_CPU))?];
    rules.insert(libc::SYS_prlimit64, vec![SeccompRule::new(own_cpu)?]);
    let refused = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    SeccompFilter::new(rules, refused, SeccompAction::Allow, arch)?.try_into()
}

fn argument(index: u8, is: SeccompCmpOp, value: u64) -> Result<SeccompRule, seccompiler::BackendError> {
    SeccompRule::new(vec![condition(index, is, value)?])
}

fn condition(index: u8, is: SeccompCmpOp, value: u64) -> Result<SeccompCondition, seccompiler::BackendError> {
    SeccompCondition::new(index, SeccompCmpArgLen::Dword, is, value)
}
