// Among how many threads work is shared out.
#pragma once

#include <ATen/Parallel.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <bitset>
#include <chrono>
#include <cstdint>
#include <thread>

#if defined(__linux__)
#include <sched.h>
#endif

namespace rmem {

// The cores that threads were on when they had done their parts.
class Seats {
 public:
  void take() {
    threads_.fetch_add(1, std::memory_order_relaxed);
#if defined(__linux__)
    const uint64_t core = std::max(0, sched_getcpu());
    taken_[core / 64 % taken_.size()].fetch_or(uint64_t{1} << core % 64, std::memory_order_relaxed);
#endif
  }

  int64_t threads() const { return threads_; }

  // None where the system does not tell.
  int64_t cores() const {
    int64_t count = 0;
    for (const auto& some : taken_) count += std::bitset<64>(some).count();
    return count;
  }

 private:
  std::atomic<int64_t> threads_{0};
  std::array<std::atomic<uint64_t>, 16> taken_{};
};

// How many threads find a core each. Beside a busy process, the system has threads that wait for each other take turns
// on one core: there they take longer than one of them alone.
class Cores {
 public:
  static Cores& here() {
    static Cores cores;
    return cores;
  }

  // As many as torch has or, for a while, as lately had a core each.
  int64_t threads() const {
    const int64_t all = at::get_num_threads();
    return now() < until_ ? std::min<int64_t>(all, enough_) : all;
  }

  void learn(const Seats& seats) {
    // Who asks for more threads than there are cores gets them.
    if (seats.threads() < 2 || seats.threads() > available_ || now() < until_) return;
    if (seats.cores() == 0 || seats.cores() == seats.threads()) {
      crowded_ = 0, pause_ = shortest_pause;
      return;
    }
    crowded_ += 1;
    if (crowded_ < chances) return;
    enough_ = seats.cores();
    until_ = now() + pause_;
    pause_ = std::min<int64_t>(2 * pause_, longest_pause);
  }

 private:
  // Threads may be on one core by chance.
  static constexpr int chances = 3;
  // Nanoseconds until all threads are tried again.
  static constexpr int64_t shortest_pause = 10'000'000, longest_pause = 640'000'000;

  static int64_t now() {
    return std::chrono::nanoseconds(std::chrono::steady_clock::now().time_since_epoch()).count();
  }

  const int64_t available_ = std::thread::hardware_concurrency();
  std::atomic<int> crowded_{0};
  std::atomic<int64_t> enough_{1}, until_{0}, pause_{shortest_pause};
};

// Calls body(first, last) for parts of `begin` up to `end` of at least `grain` each, on as many threads as find a core.
// What is computed must not depend on how many that are: they differ from one time to the next.
template <typename Body>
void parallel_for(int64_t begin, int64_t end, int64_t grain, const Body& body) {
  const int64_t threads = Cores::here().threads();
  Seats seats;
  at::parallel_for(begin, end, std::max(grain, (end - begin + threads - 1) / threads),
                   [&](int64_t first, int64_t last) {
                     body(first, last);
                     seats.take();
                   });
  Cores::here().learn(seats);
}

}  // namespace rmem
