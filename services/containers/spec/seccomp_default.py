"""The default system call filter, equal in effect to Docker's documented one.

The system calls are grouped by what they are for. What depends on a capability is open to those
who hold it: with the capability they could do the same by other means. A name that the
architecture or the runtime's libseccomp does not know is skipped by the runtime.

Source: moby, profiles/seccomp: which calls are allowed, on which condition.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from services.containers.spec.seccomp_rules import Argument, Rule

EPERM: Final = 1
ENOSYS: Final = 38

_HARMLESS: Final = (
    # Identity: the kernel checks capabilities itself.
    "capget", "capset", "getegid", "getegid32", "geteuid", "geteuid32", "getgid", "getgid32",
    "getgroups", "getgroups32", "getresgid", "getresgid32", "getresuid", "getresuid32", "getuid",
    "getuid32", "setfsgid", "setfsgid32", "setfsuid", "setfsuid32", "setgid", "setgid32",
    "setgroups", "setgroups32", "setregid", "setregid32", "setresgid", "setresgid32", "setresuid",
    "setresuid32", "setreuid", "setreuid32", "setuid", "setuid32", "umask",
    # Signals.
    "kill", "pause", "pidfd_send_signal", "restart_syscall", "rt_sigaction", "rt_sigpending",
    "rt_sigprocmask", "rt_sigqueueinfo", "rt_sigreturn", "rt_sigsuspend", "rt_sigtimedwait",
    "rt_sigtimedwait_time64", "rt_tgsigqueueinfo", "sigaltstack", "signalfd", "signalfd4",
    "sigprocmask", "sigreturn", "tgkill", "tkill",
    # Clocks and timers: setting a clock fails without CAP_SYS_TIME.
    "adjtimex", "alarm", "clock_adjtime", "clock_adjtime64", "clock_getres",
    "clock_getres_time64", "clock_gettime", "clock_gettime64", "clock_nanosleep",
    "clock_nanosleep_time64", "getitimer", "gettimeofday", "nanosleep", "setitimer", "time",
    "timer_create", "timer_delete", "timer_getoverrun", "timer_gettime", "timer_gettime64",
    "timer_settime", "timer_settime64", "timerfd_create", "timerfd_gettime", "timerfd_gettime64",
    "timerfd_settime", "timerfd_settime64", "times",
    # Extended attributes.
    "fgetxattr", "flistxattr", "fremovexattr", "fsetxattr", "getxattr", "getxattrat", "lgetxattr",
    "listxattr", "listxattrat", "llistxattr", "lremovexattr", "lsetxattr", "removexattr",
    "removexattrat", "setxattr", "setxattrat",
    # Memory.
    "brk", "cachestat", "madvise", "map_shadow_stack", "membarrier", "memfd_create",
    "memfd_secret", "mincore", "mlock", "mlock2", "mlockall", "mmap", "mmap2", "mprotect",
    "mremap", "mseal", "msync", "munlock", "munlockall", "munmap", "pkey_alloc", "pkey_free",
    "pkey_mprotect", "process_mrelease", "remap_file_pages",
    # Waiting: polls, events, futexes.
    "epoll_create", "epoll_create1", "epoll_ctl", "epoll_ctl_old", "epoll_pwait", "epoll_pwait2",
    "epoll_wait", "epoll_wait_old", "eventfd", "eventfd2", "fanotify_mark", "futex",
    "futex_requeue", "futex_time64", "futex_wait", "futex_waitv", "futex_wake", "get_robust_list",
    "inotify_add_watch", "inotify_init", "inotify_init1", "inotify_rm_watch", "_newselect",
    "poll", "ppoll", "ppoll_time64", "pselect6", "pselect6_time64", "select", "set_robust_list",
    # System V and POSIX IPC.
    "ipc", "mq_getsetattr", "mq_notify", "mq_open", "mq_timedreceive", "mq_timedreceive_time64",
    "mq_timedsend", "mq_timedsend_time64", "mq_unlink", "msgctl", "msgget", "msgrcv", "msgsnd",
    "semctl", "semget", "semop", "semtimedop", "semtimedop_time64", "shmat", "shmctl", "shmdt",
    "shmget",
    # Sockets; making one is restricted below.
    "accept", "accept4", "bind", "connect", "getpeername", "getsockname", "getsockopt", "listen",
    "recv", "recvfrom", "recvmmsg", "recvmmsg_time64", "recvmsg", "send", "sendmmsg", "sendmsg",
    "sendto", "setsockopt", "shutdown", "socketcall", "socketpair",
    # Processes, scheduling and limits.
    "execve", "execveat", "exit", "exit_group", "fork", "getcpu", "getpgid", "getpgrp", "getpid",
    "getppid", "getpriority", "getrlimit", "getrusage", "getsid", "get_thread_area", "gettid",
    "ioprio_get", "ioprio_set", "pidfd_open", "prctl", "prlimit64", "rseq", "sched_getaffinity",
    "sched_getattr", "sched_getparam", "sched_get_priority_max", "sched_get_priority_min",
    "sched_getscheduler", "sched_rr_get_interval", "sched_rr_get_interval_time64",
    "sched_setaffinity", "sched_setattr", "sched_setparam", "sched_setscheduler", "sched_yield",
    "setpgid", "setpriority", "setrlimit", "setsid", "set_thread_area", "set_tid_address",
    "ugetrlimit", "uretprobe", "vfork", "wait4", "waitid", "waitpid",
    # Sandboxing itself further.
    "landlock_add_rule", "landlock_create_ruleset", "landlock_restrict_self", "seccomp",
    # Asynchronous I/O; io_uring is not among it: its operations pass seccomp by.
    "io_cancel", "io_destroy", "io_getevents", "io_pgetevents", "io_pgetevents_time64",
    "io_setup", "io_submit",
    # What the machine is.
    "getrandom", "listmount", "riscv_hwprobe", "statmount", "sysinfo", "uname",
    # Directories, names and metadata.
    "access", "chdir", "chmod", "chown", "chown32", "faccessat", "faccessat2", "fchdir", "fchmod",
    "fchmodat", "fchmodat2", "fchown", "fchown32", "fchownat", "fstat", "fstat64", "fstatat64",
    "fstatfs", "fstatfs64", "futimesat", "getcwd", "getdents", "getdents64", "lchown", "lchown32",
    "link", "linkat", "lstat", "lstat64", "mkdir", "mkdirat", "mknod", "mknodat",
    "name_to_handle_at", "newfstatat", "readlink", "readlinkat", "rename", "renameat",
    "renameat2", "rmdir", "stat", "stat64", "statfs", "statfs64", "statx", "symlink", "symlinkat",
    "unlink", "unlinkat", "utime", "utimensat", "utimensat_time64", "utimes",
    # Open files.
    "close", "close_range", "copy_file_range", "creat", "dup", "dup2", "dup3", "fadvise64",
    "fadvise64_64", "fallocate", "fcntl", "fcntl64", "fdatasync", "flock", "fsync", "ftruncate",
    "ftruncate64", "ioctl", "_llseek", "lseek", "open", "openat", "openat2", "pipe", "pipe2",
    "pread64", "preadv", "preadv2", "pwrite64", "pwritev", "pwritev2", "read", "readahead",
    "readv", "sendfile", "sendfile64", "splice", "sync", "sync_file_range", "syncfs", "tee",
    "truncate", "truncate64", "vmsplice", "write", "writev",
)  # fmt: skip

# Reading another process: before 4.8 a tracer could step over the filter itself.
_TRACING: Final = ("process_vm_readv", "process_vm_writev", "ptrace")

# Address families, the numbers of linux/socket.h: all but AF_ALG (38: the kernel's cryptography, a
# wide surface for little use) and AF_VSOCK (40: reaches the hypervisor past network namespaces).
# Ranges, as in Docker's profile: each rule costs every start and every exec a fifth of a
# millisecond, for runc compiles them for three architectures.
_FAMILIES: Final = (("SCMP_CMP_LT", 38), ("SCMP_CMP_EQ", 39), ("SCMP_CMP_GT", 40))

# Execution domains: Linux, Linux with 32-bit addresses reported as such, and "ask only".
_PERSONALITIES: Final = (0x0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)

# CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID and NEWNET: none of them may be set.
_CLONE_NEW_ANY: Final = 0x7E020000

_BY_ARCHITECTURE: Final = (
    (("ppc64le",), ("sync_file_range2", "swapcontext")),
    (
        ("arm", "arm64"),
        ("arm_fadvise64_64", "arm_sync_file_range", "sync_file_range2", "breakpoint",
         "cacheflush", "set_tls"),
    ),
    (("amd64", "x32"), ("arch_prctl",)),
    (("amd64", "x32", "x86"), ("modify_ldt",)),
    (("s390", "s390x"), ("s390_pci_mmio_read", "s390_pci_mmio_write", "s390_runtime_instr")),
    (("riscv64",), ("riscv_flush_icache",)),
)  # fmt: skip

_BY_CAPABILITY: Final = (
    ("CAP_DAC_READ_SEARCH", ("open_by_handle_at",)),
    (
        "CAP_SYS_ADMIN",
        ("bpf", "clone", "clone3", "fanotify_init", "fsconfig", "fsmount", "fsopen", "fspick",
         "lookup_dcookie", "lsm_get_self_attr", "lsm_list_modules", "lsm_set_self_attr", "mount",
         "mount_setattr", "move_mount", "open_tree", "perf_event_open", "quotactl",
         "quotactl_fd", "setdomainname", "sethostname", "setns", "syslog", "umount", "umount2",
         "unshare"),
    ),
    ("CAP_SYS_BOOT", ("reboot",)),
    ("CAP_SYS_CHROOT", ("chroot",)),
    ("CAP_SYS_MODULE", ("delete_module", "finit_module", "init_module")),
    ("CAP_SYS_PACCT", ("acct",)),
    ("CAP_SYS_PTRACE", ("kcmp", "pidfd_getfd", "process_madvise", *_TRACING)),
    ("CAP_SYS_RAWIO", ("ioperm", "iopl")),
    ("CAP_SYS_TIME", ("clock_settime", "clock_settime64", "settimeofday", "stime")),
    ("CAP_SYS_TTY_CONFIG", ("vhangup",)),
    (
        "CAP_SYS_NICE",
        ("get_mempolicy", "mbind", "set_mempolicy", "set_mempolicy_home_node"),
    ),
    ("CAP_SYSLOG", ("syslog",)),
    ("CAP_BPF", ("bpf",)),
    ("CAP_PERFMON", ("perf_event_open",)),
)  # fmt: skip

_S390: Final = ("s390", "s390x")
_NO_ADMIN: Final = ("CAP_SYS_ADMIN",)

# Without SYS_ADMIN: processes and threads, but no namespaces. clone takes its flags first, on s390
# second. clone3 hides them behind a pointer: ENOSYS makes libc fall back to clone.
_CLONING: Final = (
    Rule(
        names=("clone",),
        args=(Argument(index=0, op="SCMP_CMP_MASKED_EQ", value=_CLONE_NEW_ANY),),
        unless_capabilities=_NO_ADMIN,
        unless_architectures=_S390,
    ),
    Rule(
        names=("clone",),
        args=(Argument(index=1, op="SCMP_CMP_MASKED_EQ", value=_CLONE_NEW_ANY),),
        architectures=_S390,
        unless_capabilities=_NO_ADMIN,
    ),
    Rule(
        names=("clone3",),
        action="SCMP_ACT_ERRNO",
        errno=ENOSYS,
        unless_capabilities=_NO_ADMIN,
    ),
)

DEFAULT_RULES: Final[tuple[Rule, ...]] = (
    Rule(names=_HARMLESS),
    Rule(names=_TRACING, min_kernel=(4, 8)),
    *(
        Rule(names=("socket",), args=(Argument(index=0, op=op, value=family),))
        for op, family in _FAMILIES
    ),
    *(
        Rule(names=("personality",), args=(Argument(index=0, op="SCMP_CMP_EQ", value=domain),))
        for domain in _PERSONALITIES
    ),
    *(Rule(names=names, architectures=where) for where, names in _BY_ARCHITECTURE),
    *(Rule(names=names, capabilities=(needs,)) for needs, names in _BY_CAPABILITY),
    *_CLONING,
)

X32: Final = "SCMP_ARCH_X32"

# What one kernel can run, by its OCI architecture: its own calls and those of its smaller siblings.
ARCHITECTURES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "amd64": ("SCMP_ARCH_X86_64", "SCMP_ARCH_X86", X32),
        "386": ("SCMP_ARCH_X86",),
        "arm64": ("SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"),
        "arm": ("SCMP_ARCH_ARM",),
        "mips64": ("SCMP_ARCH_MIPS64", "SCMP_ARCH_MIPS", "SCMP_ARCH_MIPS64N32"),
        "mips64le": ("SCMP_ARCH_MIPSEL64", "SCMP_ARCH_MIPSEL", "SCMP_ARCH_MIPSEL64N32"),
        "ppc64le": ("SCMP_ARCH_PPC64LE",),
        "s390x": ("SCMP_ARCH_S390X", "SCMP_ARCH_S390"),
        "riscv64": ("SCMP_ARCH_RISCV64",),
        "loong64": ("SCMP_ARCH_LOONGARCH64",),
    }
)
