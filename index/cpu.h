// Which CPU a thread runs on. Where CPUs seem to share no cache, as those of virtual machines do,
// the kernel wakes a thread where it ran last: beside a busy one though another CPU is idle, or far
// from the one that waits for its answer. All calls from any thread.
#pragma once

#include <sys/types.h>

namespace btfc::index {

// The calling thread goes on elsewhere if it runs on this CPU (as of sched_getcpu(3)) and may use
// another: for one that works beside the thread that woke it. Costs some microseconds if it moves.
void LeaveCpu(int cpu);

// The calling thread goes on there, if it may. It is not bound to it.
void GoToCpu(int cpu);

// Where the thread `tid` ran last (proc_pid_stat(5)), -1 if that is not known.
int CpuOf(pid_t tid);

}  // namespace btfc::index
