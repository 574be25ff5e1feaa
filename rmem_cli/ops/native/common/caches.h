// What the caches of one core hold; each bound is where, on cores with 1 to 2 MB, the other way became faster.
#pragma once

#include <cstdint>

namespace rmem {

constexpr int64_t line_bytes = 64;
// Weights that stay from one step to the next; more have to be fetched ahead.
constexpr int64_t near_weight_bytes = int64_t{1} << 20;
// Weights that each thread may go over by itself; the units of more are shared out.
constexpr int64_t own_weight_bytes = int64_t{1} << 21;
// What a group of rows goes over in every step.
constexpr int64_t group_bytes = int64_t{5} << 18;

}  // namespace rmem
