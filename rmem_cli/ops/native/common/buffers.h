// Memory for long sequences.
#pragma once

#include <ATen/ATen.h>

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include <cstdint>
#include <cstdlib>
#include <map>
#include <mutex>
#include <new>

namespace rmem {

// Large blocks, handed out again once they are free: the first touch of fresh memory costs as much as a product.
// Never holds more than was in use at one time, and an eighth: blocks of other sizes do not fit each other's places.
class Blocks {
 public:
  static constexpr size_t least = size_t{1} << 17, large_page = size_t{1} << 21;

  // At least `size` bytes; in whole large pages, if it fills one.
  void* take(size_t size) {
    const size_t unit = size < large_page ? least : large_page;
    size = (size + unit - 1) / unit * unit;
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto found = free_.lower_bound(size);
    void* block;
    if (found != free_.end() && found->first <= size + size / 4) {
      size = found->first;
      block = found->second;
      held_ -= size;
      free_.erase(found);
    } else {
      block = fresh(size);
    }
    sizes_[block] = size;
    used_ += size;
    most_ = std::max(most_, used_);
    make_room();
    return block;
  }

  void give_back(void* block) {
    const std::lock_guard<std::mutex> lock(mutex_);
    const size_t size = sizes_.at(block);
    sizes_.erase(block);
    used_ -= size;
    held_ += size;
    free_.emplace(size, block);
    make_room();
  }

 private:
  static void* fresh(size_t size) {
    const bool large = size >= large_page;
    void* block = std::aligned_alloc(large ? large_page : 64, size);
    if (block == nullptr) throw std::bad_alloc();
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    if (large) madvise(block, size, MADV_HUGEPAGE);
#endif
    return block;
  }

  void make_room() {
    while (used_ + held_ > most_ + most_ / 8 && !free_.empty()) {
      const auto smallest = free_.begin();
      std::free(smallest->second);
      held_ -= smallest->first;
      free_.erase(smallest);
    }
  }

  std::mutex mutex_;
  std::multimap<size_t, void*> free_;
  std::map<void*, size_t> sizes_;
  size_t used_ = 0, held_ = 0, most_ = 0;
};

// A tensor whose numbers are not set.
inline at::Tensor uninitialised(at::IntArrayRef sizes, const at::TensorOptions& options) {
  // Lives to the end of the process: tensors may outlive every other static.
  static Blocks& blocks = *new Blocks;
  const size_t bytes = c10::multiply_integers(sizes) * options.dtype().itemsize();
  if (bytes < Blocks::least) return at::empty(sizes, options);
  return at::from_blob(blocks.take(bytes), sizes, [](void* block) { blocks.give_back(block); }, options);
}

}  // namespace rmem
