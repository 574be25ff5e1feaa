// Among how many threads work is shared out.
#pragma once

#include <ATen/Parallel.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <ctime>
#include <ratio>
#include <system_error>
#include <thread>
#include <vector>

namespace rmem {

// Rows of a batch that make a thread worth its while: fewer take as long to multiply.
constexpr int64_t rows_per_thread = 4;

inline int64_t nanoseconds_now() {
  return std::chrono::nanoseconds(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Processor time that the calling thread has had.
inline int64_t processor_nanoseconds() {
  timespec time;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return time.tv_sec * std::nano::den + time.tv_nsec;
}

// How long the calling thread has slept until others came to where they meet.
inline thread_local int64_t nanoseconds_of_meetings = 0;

// What a thread did of some work that was shared out, when it was done, counted from the beginning, and how much of
// that time it was without a core, though it had work: it woke late, or had to share.
struct Share {
  int64_t items = 0, nanoseconds = 0, waited = 0;

  bool had_a_core() const {
    // Waking up takes less.
    constexpr int64_t soon = 300'000;
    return waited <= std::max(nanoseconds / 4, soon);
  }
};

// Until then, OpenMP's threads that wait fall asleep at once and leave the cores to those that work. GNU's OpenMP has
// them spin for milliseconds, but hardly at all while it manages more threads than there are cores (its manual,
// GOMP_SPINCOUNT): a team that sleeps makes them more. Other OpenMPs take no notice.
inline void sleep_at_once_until(int64_t end) {
#if defined(_OPENMP)
  const auto hold_team = [end] {
#pragma omp parallel num_threads(2)
    {
      // An empty team would not be formed.
      asm volatile("");
    }
    std::this_thread::sleep_for(std::chrono::nanoseconds(end - nanoseconds_now()));
  };
  try {
    std::thread(hold_team).detach();
  } catch (const std::system_error&) {
    // No thread can be had: the others spin.
  }
#endif
}

// How many threads find a core each. Beside a busy process, threads that wait for each other take longer than one of
// them alone: one is kept from its core, or the system has them take turns on the same.
class Cores {
 public:
  static Cores& here() {
    static Cores cores;
    return cores;
  }

  // As many as torch has or, for a while, as lately had a core each.
  int64_t threads() const {
    const int64_t all = at::get_num_threads();
    return nanoseconds_now() < until_ ? std::min<int64_t>(all, enough_) : all;
  }

  void learn(const std::vector<Share>& shares) {
    const int64_t threads = shares.size(), now = nanoseconds_now();
    // Who asks for more threads than there are cores gets them.
    if (threads < 2 || threads > available_ || now < until_) return;
    const int64_t served = std::count_if(shares.begin(), shares.end(), [](const Share& each) { return each.had_a_core(); });
    if (served == threads) {
      crowded_ = std::max(0, crowded_ - 1);
      if (crowded_ == 0) pause_ = shortest_pause;
      return;
    }
    crowded_ += once;
    if (crowded_ < often) return;
    // Twice more is enough then; once it may be that a thread has slept for long.
    crowded_ = once;
    enough_ = served > 0 ? served : threads - 1;
    until_ = now + pause_;
    sleep_at_once_until(now + 2 * pause_);
    pause_ = std::min<int64_t>(2 * pause_, longest_pause);
  }

 private:
  // Three times that a thread had no core, unless there are more than eight times as many that all had.
  static constexpr int once = 8, often = 3 * once;
  // Nanoseconds until all threads are tried again.
  static constexpr int64_t shortest_pause = 20'000'000, longest_pause = 640'000'000;

  const int64_t available_ = std::thread::hardware_concurrency();
  std::atomic<int> crowded_{0};
  std::atomic<int64_t> enough_{1}, until_{0}, pause_{shortest_pause};
};

// Calls body(first, last) for parts of `begin` up to `end` of at least `grain` each, on as many threads as find a core.
// What is computed must not depend on how many that are: they differ from one time to the next.
template <typename Body>
void parallel_for(int64_t begin, int64_t end, int64_t grain, const Body& body) {
  const int64_t threads = Cores::here().threads(), start = nanoseconds_now();
  std::vector<Share> shares(at::get_num_threads());
  at::parallel_for(begin, end, std::max(grain, (end - begin + threads - 1) / threads),
                   [&](int64_t first, int64_t last) {
                     const int64_t before = processor_nanoseconds(), met = nanoseconds_of_meetings;
                     body(first, last);
                     const int64_t elapsed = nanoseconds_now() - start, had = processor_nanoseconds() - before;
                     const int64_t slept = nanoseconds_of_meetings - met;
                     shares[at::get_thread_num()] = {last - first, elapsed, elapsed - had - slept};
                   });
  shares.erase(std::remove_if(shares.begin(), shares.end(), [](const Share& share) { return share.items == 0; }),
               shares.end());
  Cores::here().learn(shares);
}

}  // namespace rmem
