// How threads share the steps of a sequence.
#pragma once

#include <ATen/Config.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>

#include "common/cores.h"

namespace rmem {

// What one thread computes: some units of some rows of the batch, as so many members of the team.
struct Part {
  int64_t row, rows, unit, units, members;
};

// By rows, no thread waits for another. By units, each thread reads its share of the weights alone, for all
// rows, and they meet at every step: worth it where the weights fill more than the caches of a core.
class Team {
 public:
  // `unit_grain`: units are shared out in multiples of it. `row_grain`: rows, or groups of them, that make a thread
  // worth its while.
  Team(int64_t rows, int64_t units, bool by_units, int64_t unit_grain, int64_t row_grain = rows_per_thread)
      : rows_(rows), units_(units), grain_(unit_grain), row_grain_(row_grain) {
    const int64_t threads = at_once && !at::in_parallel_region() ? at::get_num_threads() : 1;
    members_ = by_units ? std::min(threads, (units + unit_grain - 1) / unit_grain) : 1;
  }

  bool by_units() const { return members_ > 1; }

  // Calls body(part) for the parts of all rows and units, on as many threads as there are.
  template <typename Body>
  void run(Body&& body) {
    if (!by_units()) {
      parallel_for(0, rows_, row_grain_, [&](int64_t begin, int64_t end) {
        body(Part{begin, end - begin, 0, units_, 1});
      });
      return;
    }
    parallel_for(0, members_, 1, [&](int64_t begin, int64_t end) {
      body(Part{0, rows_, first_unit(begin), first_unit(end) - first_unit(begin), end - begin});
    });
  }

  // Waits until all parts by units came here; one for all members, as where there is one thread, need not.
  void meet(const Part& part) {
    if (part.members >= members_) return;
    const uint64_t round = round_.load(std::memory_order_acquire);
    if (arrived_.fetch_add(part.members, std::memory_order_acq_rel) + part.members == members_) {
      arrived_.store(0, std::memory_order_relaxed);
      {
        const std::lock_guard<std::mutex> lock(mutex_);
        complete_ = nanoseconds_now();
        round_.store(round + 1, std::memory_order_release);
      }
      next_round_.notify_all();
      return;
    }
    // Whoever waits long waits for a thread that has lost its core: leave it this one.
    for (int spin = 0; spin < spins; ++spin) {
      if (round_.load(std::memory_order_acquire) != round) return;
      pause();
    }
    const int64_t begin = nanoseconds_now();
    std::unique_lock<std::mutex> lock(mutex_);
    next_round_.wait(lock, [&] { return round_.load(std::memory_order_acquire) != round; });
    // From then on it is a core that was waited for.
    nanoseconds_of_meetings += std::max<int64_t>(complete_ - begin, 0);
  }

 private:
  // OpenMP alone promises that all parts run at once, and so can meet.
#if AT_PARALLEL_OPENMP
  static constexpr bool at_once = true;
#else
  static constexpr bool at_once = false;
#endif
  // Some 25 to 50 microseconds.
  static constexpr int spins = 1000;

  int64_t first_unit(int64_t member) const {
    const int64_t grains = (units_ + grain_ - 1) / grain_;
    return std::min(units_, grains * member / members_ * grain_);
  }

  static void pause() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
  }

  int64_t rows_, units_, grain_, row_grain_, members_;
  std::atomic<uint64_t> round_{0};
  std::atomic<int64_t> arrived_{0};
  int64_t complete_ = 0;  // when all had come to the last meeting; guarded by the mutex
  std::mutex mutex_;
  std::condition_variable next_round_;
};

}  // namespace rmem
