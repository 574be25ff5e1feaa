// Among how many threads work is shared out.
#pragma once

#include <ATen/Parallel.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <limits>
#include <set>
#include <thread>
#include <vector>

#if defined(__linux__)
#include <sched.h>
#endif

namespace rmem {

inline int64_t nanoseconds_now() {
  return std::chrono::nanoseconds(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// A number for the core that the calling thread is on; another for each thread where the system does not tell.
inline int64_t core_here() {
#if defined(__linux__)
  return sched_getcpu();
#else
  return at::get_thread_num();
#endif
}

// What a thread did of some work that was shared out, how long after its beginning it was done, and where.
struct Share {
  int64_t items = 0, nanoseconds = 0, core = 0;
};

// How many threads had a core to themselves. One that another process kept from its core for some milliseconds takes
// several times as long for an item as the others.
inline int64_t served(const std::vector<Share>& shares) {
  constexpr double soon = 300'000;
  double fastest = std::numeric_limits<double>::max();
  for (const Share& share : shares) fastest = std::min(fastest, static_cast<double>(share.nanoseconds) / share.items);
  std::set<int64_t> cores;
  for (const Share& share : shares) {
    if (share.nanoseconds <= std::max(3 * fastest * share.items, soon)) cores.insert(share.core);
  }
  return cores.size();
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
    const int64_t enough = served(shares);
    if (enough == threads) {
      crowded_ = std::max(0, crowded_ - 1);
      return;
    }
    crowded_ += once;
    if (crowded_ < often) return;
    // Twice more is enough then; once it may be that a thread has slept for long.
    crowded_ = once;
    pause_ = now - until_ < pause_ ? std::min<int64_t>(2 * pause_, longest_pause) : shortest_pause;
    enough_ = enough;
    until_ = now + pause_;
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
                     body(first, last);
                     shares[at::get_thread_num()] = {last - first, nanoseconds_now() - start, core_here()};
                   });
  shares.erase(std::remove_if(shares.begin(), shares.end(), [](const Share& share) { return share.items == 0; }),
               shares.end());
  Cores::here().learn(shares);
}

}  // namespace rmem
