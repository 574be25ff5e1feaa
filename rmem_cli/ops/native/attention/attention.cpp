// Relative attention: `rmem_cli/ops/attention/reference.py` has the equations, the README beside it the layout.
//
// The scores of one head of one example stay in a core's cache while they are computed, shifted, masked and used;
// only the probabilities are kept for the way back. Queries are taken some rows at a time, and of the keys
// only those from the first to the last that one of these rows sees.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/cpu/vec/functional.h>
#include <torch/library.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <optional>
#include <tuple>
#include <vector>

#include "common/buffers.h"
#include "common/cores.h"
#include "common/denormals.h"
#include "common/differentiation.h"
#include "common/elementwise.h"
#include "common/operands.h"
#include "product/product.h"

namespace rmem {
namespace {

// ---------------------------------------------------------------------------------------------------------
// Arguments and results

#define ATTENTION_OPERANDS(each)                                                                   \
  each(Tensor, projected)        /* [batch, queries, 3 heads size]: queries, keys and values */    \
  each(optional<Tensor>, cached) /* [batch, cached, 2 heads size]: keys and values before them */  \
  each(Tensor, distances)        /* [heads, width, size] */                                        \
  each(Tensor, content_bias)     /* [heads, size] */                                               \
  each(Tensor, distance_bias)    /* [heads, width] */                                              \
  each(optional<Tensor>, mask) /* [queries, keys], or one such mask for each example */
RMEM_RECORD(Operands, ATTENTION_OPERANDS)

#define ATTENTION_KEEPING(each) each(bool, keep) /* what the gradient needs */
RMEM_RECORD(Keeping, ATTENTION_KEEPING)

#define ATTENTION_RESULTS(each)                                                  \
  each(Tensor, attended) /* [batch, queries, heads size] */                      \
  each(Tensor, kept)     /* probabilities: [heads, batch, queries, keys], or empty */
RMEM_RECORD(Results, ATTENTION_RESULTS)

#define ATTENTION_RESULT_GRADIENT(each) each(Tensor, gradient)
RMEM_RECORD(ResultGradient, ATTENTION_RESULT_GRADIENT)

#define ATTENTION_KEPT(each) each(Tensor, kept)
RMEM_RECORD(Kept, ATTENTION_KEPT)

#define ATTENTION_GRADIENTS(each)                              \
  each(Tensor, projected)                                      \
  each(Tensor, cached) /* without any places if there is none */ \
  each(Tensor, distances)                                      \
  each(Tensor, content_bias)                                   \
  each(Tensor, distance_bias)
RMEM_RECORD(ArgumentGradients, ATTENTION_GRADIENTS)

// A matrix of one thread, that lives as long as its part of the work; its rows begin where vectors are loaded fast.
template <typename T>
class Buffer {
 public:
  Buffer(int64_t rows, int64_t columns)
      : stride_((columns + Vector<T>::size() - 1) / Vector<T>::size() * Vector<T>::size()),
        numbers_(at::empty({rows * stride_ + panel_columns<T>}, c10::CppTypeToScalarType<T>::value)),
        place_(numbers_.template mutable_data_ptr<T>()) {}

  Matrix<T> matrix() const { return {place_, stride_}; }
  void clear() { std::fill_n(place_, numbers_.numel(), T(0)); }

 private:
  int64_t stride_;
  Tensor numbers_;
  T* place_;
};

template <typename T>
void copy_rows(Matrix<const T> from, int64_t rows, int64_t size, Matrix<T> to) {
  for (int64_t row = 0; row < rows; ++row) std::copy_n(from.row(row), size, to.row(row));
}

template <typename T>
void transpose(Matrix<const T> from, int64_t rows, int64_t columns, Matrix<T> to) {
  constexpr int64_t together = 16;
  for (int64_t first = 0; first < rows; first += together)
    for (int64_t column = 0; column < columns; ++column)
      for (int64_t row = first; row < std::min(rows, first + together); ++row)
        to.row(column)[row] = from.row(row)[column];
}

struct Sizes {
  int64_t heads, batch, queries, cached, keys, size, width;

  Sizes(const Tensor& projected, const optional<Tensor>& cached_projected, const Tensor& distances)
      : heads(distances.size(0)),
        batch(projected.size(0)),
        queries(projected.size(1)),
        cached(cached_projected ? cached_projected->size(1) : 0),
        keys(cached + queries),
        size(distances.size(2)),
        width(distances.size(1)) {}

  int64_t features() const { return heads * size; }
};

// Some rows of the queries, and the keys from the first to behind the last that one of these rows sees.
struct Tile {
  int64_t row, rows, begin, end;

  int64_t keys() const { return end - begin; }
};

// Rows of a tile: fewer see fewer keys together, more make better products.
constexpr int64_t tile_rows = 24;

// Who does not see whom: one mask for all examples, or one for each.
class Mask {
 public:
  Mask(const optional<Tensor>& blocked, const Sizes& sizes)
      : blocked_(blocked ? blocked->const_data_ptr<bool>() : nullptr),
        keys_(sizes.keys),
        example_(blocked && blocked->dim() == 3 ? sizes.queries * sizes.keys : 0),
        tiles_(example_ ? sizes.batch : 1) {
    const int64_t count = (sizes.queries + tile_rows - 1) / tile_rows;
    for (size_t example = 0; example < tiles_.size(); ++example)
      for (int64_t index = 0; index < count; ++index) {
        const int64_t row = sizes.queries * index / count, next = sizes.queries * (index + 1) / count;
        tiles_[example].push_back(seen(example, row, next - row));
      }
  }

  const std::vector<Tile>& tiles(int64_t example) const { return tiles_[example_ ? example : 0]; }

  // Sets what is blocked of the scores of one query with the keys of its tile.
  template <typename T>
  void apply(int64_t example, int64_t query, const Tile& tile, T* scores) const {
    if (blocked_ == nullptr) return;
    const bool* blocked = row(example, query) + tile.begin;
    for (int64_t key = first(true, blocked, 0, tile.keys()); key < tile.keys();) {
      const int64_t next = first(false, blocked, key, tile.keys());
      std::fill(scores + key, scores + next, -std::numeric_limits<T>::infinity());
      key = first(true, blocked, next, tile.keys());
    }
  }

 private:
  const bool* row(int64_t example, int64_t query) const { return blocked_ + example * example_ + query * keys_; }

  // The first key from `begin` on that is blocked or is not; `end` if there is none.
  static int64_t first(bool value, const bool* blocked, int64_t begin, int64_t end) {
    const void* found = std::memchr(blocked + begin, value, end - begin);
    return found ? static_cast<const bool*>(found) - blocked : end;
  }

  Tile seen(int64_t example, int64_t first_query, int64_t rows) const {
    if (blocked_ == nullptr) return {first_query, rows, 0, keys_};
    int64_t begin = keys_, end = 0;
    for (int64_t query = first_query; query < first_query + rows; ++query) {
      const bool* blocked = row(example, query);
      begin = first(false, blocked, 0, begin);
      for (int64_t key = keys_; key > end; --key)
        if (!blocked[key - 1]) end = key;
    }
    // Rows that see nothing have no probabilities, which any one key shows.
    return begin < end ? Tile{first_query, rows, begin, end} : Tile{first_query, rows, 0, 1};
  }

  const bool* blocked_;
  int64_t keys_, example_;
  std::vector<std::vector<Tile>> tiles_;
};

// How threads share the work: parts of the pairs of a head and an example, heads outermost.
class Shares {
 public:
  explicit Shares(const Sizes& sizes)
      : batch_(sizes.batch),
        pairs_(sizes.heads * sizes.batch),
        parts_(std::min<int64_t>(at::get_num_threads(), pairs_)) {
    for (int64_t head = 0; batch_ > 0 && head < sizes.heads; ++head)
      most_ = std::max(most_, part_of((head + 1) * batch_ - 1) - first_part(head) + 1);
  }

  // Calls body(part, pairs' begin, pairs' end) for all parts, each on one thread.
  template <typename Body>
  void run(Body&& body) const {
    parallel_for(0, parts_, 1, [&](int64_t begin, int64_t end) {
      const FlushDenormals flush;
      for (int64_t part = begin; part < end; ++part) body(part, pairs_ * part / parts_, pairs_ * (part + 1) / parts_);
    });
  }

  // The first part that has an example of a head, and how many parts a head has at most.
  int64_t first_part(int64_t head) const { return part_of(head * batch_); }
  int64_t most_parts_of_a_head() const { return most_; }

 private:
  int64_t part_of(int64_t pair) const { return ((pair + 1) * parts_ - 1) / pairs_; }

  int64_t batch_, pairs_, parts_, most_ = 0;
};

// What one head of one example reads, side by side in memory.
template <typename T>
class Pair {
 public:
  Pair(const Sizes& sizes, const Tensor& projected, const optional<Tensor>& cached, const Tensor& content_bias)
      : sizes_(sizes),
        scale_(1 / std::sqrt(static_cast<T>(sizes.size))),
        projected_(projected.const_data_ptr<T>()),
        cached_(cached ? cached->const_data_ptr<T>() : nullptr),
        content_bias_(content_bias.const_data_ptr<T>()),
        scaled_(sizes.queries, sizes.size),
        by_content_(sizes.queries, sizes.size),
        keys_(sizes.keys, sizes.size),
        values_(sizes.keys, sizes.size),
        turned_(sizes.size, sizes.keys) {}

  void read(int64_t head, int64_t example) {
    const int64_t features = sizes_.features(), offset = head * sizes_.size;
    const T* own = projected_ + example * sizes_.queries * 3 * features + offset;
    const T* old = cached_ ? cached_ + example * sizes_.cached * 2 * features + offset : own;
    read_queries({own, 3 * features}, content_bias_ + offset);
    copy_rows<T>({old, 2 * features}, sizes_.cached, sizes_.size, keys());
    copy_rows<T>({own + features, 3 * features}, sizes_.queries, sizes_.size, keys().from_row(sizes_.cached));
    copy_rows<T>({old + features, 2 * features}, sizes_.cached, sizes_.size, values());
    copy_rows<T>({own + 2 * features, 3 * features}, sizes_.queries, sizes_.size, values().from_row(sizes_.cached));
  }

  T scale() const { return scale_; }
  // Queries over the root of their size, without and with the bias for products with keys.
  Matrix<T> scaled() { return scaled_.matrix(); }
  Matrix<T> by_content() { return by_content_.matrix(); }
  Matrix<T> keys() { return keys_.matrix(); }
  Matrix<T> values() { return values_.matrix(); }
  // One column for each key.
  Matrix<T> keys_in_columns() { return in_columns(keys()); }
  Matrix<T> values_in_columns() { return in_columns(values()); }

 private:
  Matrix<T> in_columns(Matrix<T> rows) {
    transpose<T>(rows, sizes_.keys, sizes_.size, turned_.matrix());
    return turned_.matrix();
  }

  void read_queries(Matrix<const T> queries, const T* bias) {
    for (int64_t row = 0; row < sizes_.queries; ++row) {
      const T* from = queries.row(row);
      T *scaled = scaled_.matrix().row(row), *by_content = by_content_.matrix().row(row);
      for (int64_t unit = 0; unit < sizes_.size; ++unit) {
        scaled[unit] = from[unit] * scale_;
        by_content[unit] = (from[unit] + bias[unit]) * scale_;
      }
    }
  }

  const Sizes& sizes_;
  T scale_;
  const T *projected_, *cached_, *content_bias_;
  Buffer<T> scaled_, by_content_, keys_, values_, turned_;
};

// The rows of the table of distances that a tile needs: the one for its first key and last query comes first, and
// each query begins one row before the query above it.
struct Distances {
  int64_t first, rows;

  Distances(const Tile& tile, const Sizes& sizes) : first(sizes.queries - tile.row - tile.rows + tile.begin) {
    rows = std::clamp<int64_t>(sizes.width - first, 0, tile.keys() + tile.rows - 1);
  }

  // Of a query of the tile, counted from its first.
  int64_t shift(const Tile& tile, int64_t query) const { return tile.rows - 1 - query; }
  // Keys of it that have a distance in the table; those behind them are blocked.
  int64_t keys(const Tile& tile, int64_t query) const {
    return std::clamp<int64_t>(rows - shift(tile, query), 0, tile.keys());
  }
};

template <typename T>
T largest_of(const T* row, int64_t size) {
  constexpr int64_t lanes = Vector<T>::size();
  const T least = -std::numeric_limits<T>::infinity();
  Vector<T> largest(least);
  int64_t key = 0;
  for (; key + lanes <= size; key += lanes) largest = at::vec::maximum(largest, Vector<T>::loadu(row + key));
  T result = at::vec::vec_reduce_all<T>([](Vector<T> a, Vector<T> b) { return at::vec::maximum(a, b); }, largest);
  for (; key < size; ++key) result = std::max(result, row[key]);
  return result;
}

template <typename T>
T sum_of(const Vector<T>& numbers) {
  return at::vec::vec_reduce_all<T>([](Vector<T> a, Vector<T> b) { return a + b; }, numbers);
}

// One row of scores to its probabilities.
template <typename T>
void softmax(T* row, int64_t size) {
  const Vector<T> largest(largest_of(row, size));
  Vector<T> sums(0);
  T rest = 0;
  each_vector<T>(size, [&](int64_t first, int64_t count) {
    store(exponential(load(row + first, count) - largest), row + first, count);
    if (count == Vector<T>::size())
      sums = sums + Vector<T>::loadu(row + first);
    else
      rest = std::accumulate(row + first, row + first + count, rest);
  });
  const T factor = 1 / (sum_of(sums) + rest);
  for (int64_t key = 0; key < size; ++key) row[key] *= factor;
}

// The vectors of the distances of one head, one after the other.
template <typename T>
Matrix<const T> of_head(const Tensor& distances, int64_t head, const Sizes& sizes) {
  return {distances.const_data_ptr<T>() + head * sizes.width * sizes.size, sizes.size};
}

// What the queries of a tile are multiplied by, one column for each key and distance, and the biases of these.
template <typename T>
struct Columns {
  Matrix<const T> keys, distances;
  const T* distance_bias;
};

// Probabilities of a tile, in rows as wide as all keys; those of no key of the tile are zero.
template <typename T>
void probabilities_of(const Tile& tile, int64_t example, const Sizes& sizes, const Mask& mask, Pair<T>& pair,
                      const Columns<T>& columns, Matrix<T> by_distance, Matrix<T> result) {
  const Distances needed(tile, sizes);
  const Matrix<T> scores = result.from_column(tile.begin);
  multiply<T>(pair.by_content().from_row(tile.row), columns.keys.from_column(tile.begin), tile.rows, tile.keys(),
              sizes.size, scores);
  multiply<T>(pair.scaled().from_row(tile.row), columns.distances.from_column(needed.first), tile.rows, needed.rows,
              sizes.size, by_distance);
  for (int64_t query = 0; query < tile.rows; ++query) {
    const int64_t shift = needed.shift(tile, query), keys = needed.keys(tile, query);
    T* row = scores.row(query);
    const T* moved = by_distance.row(query) + shift;
    const T* bias = columns.distance_bias + needed.first + shift;
    for (int64_t key = 0; key < keys; ++key) row[key] += moved[key] + bias[key] * pair.scale();
    mask.apply(example, tile.row + query, tile, row);
    softmax(row, tile.keys());
    std::fill(result.row(query), result.row(query) + tile.begin, T(0));
    std::fill(result.row(query) + tile.end, result.row(query) + sizes.keys, T(0));
  }
}

// What both passes are given.
void check(const Operands& given, const Sizes& sizes) {
  const auto& mask = given.mask;
  check_sizes("queries, keys and values", given.projected, {sizes.batch, sizes.queries, 3 * sizes.features()});
  check_sizes("cached keys and values", given.cached, {sizes.batch, sizes.cached, 2 * sizes.features()});
  check_sizes("distances", given.distances, {sizes.heads, sizes.width, sizes.size});
  check_sizes("content bias", given.content_bias, {sizes.heads, sizes.size});
  TORCH_CHECK(sizes.width > sizes.keys, "distances need a row for at least one later key");
  check_contiguous({given.projected, given.distances, given.content_bias});
  if (given.cached) check_contiguous(*given.cached);
  if (!mask) return;
  if (mask->dim() == 3)
    check_sizes("mask", mask, {sizes.batch, sizes.queries, sizes.keys});
  else
    check_sizes("mask", mask, {sizes.queries, sizes.keys});
  check_contiguous(*mask);
}

Results relative_attention(const Operands& given, const Keeping& keeping) {
  const Tensor &projected = given.projected, &distances = given.distances, &content_bias = given.content_bias;
  const Tensor& distance_bias = given.distance_bias;
  const optional<Tensor>& cached = given.cached;
  const bool keep = keeping.keep;
  const Sizes sizes(projected, cached, distances);
  check(given, sizes);
  check_sizes("distance bias", distance_bias, {sizes.heads, sizes.width});
  check_contiguous(distance_bias);
  const Mask mask(given.mask, sizes);
  const auto& options = projected.options();
  Tensor attended = uninitialised({sizes.batch, sizes.queries, sizes.features()}, options);
  Tensor kept = keep ? uninitialised({sizes.heads, sizes.batch, sizes.queries, sizes.keys}, options)
                     : at::empty({0}, options);
  AT_DISPATCH_FLOATING_TYPES(projected.scalar_type(), "relative_attention", [&] {
    using T = scalar_t;
    Shares(sizes).run([&](int64_t, int64_t begin, int64_t end) {
      Pair<T> pair(sizes, projected, cached, content_bias);
      Buffer<T> by_distance(tile_rows, sizes.keys + tile_rows), of_tile(keep ? 0 : tile_rows, sizes.keys),
          table(sizes.size, sizes.width);
      for (int64_t index = begin; index < end; ++index) {
        const int64_t head = index / sizes.batch, example = index % sizes.batch;
        pair.read(head, example);
        if (index == begin || example == 0)
          transpose(of_head<T>(distances, head, sizes), sizes.width, sizes.size, table.matrix());
        const Columns<T> columns{pair.keys_in_columns(), table.matrix(),
                                 distance_bias.const_data_ptr<T>() + head * sizes.width};
        for (const Tile& tile : mask.tiles(example)) {
          const int64_t row = index * sizes.queries + tile.row;
          const Matrix<T> weights =
              keep ? Matrix<T>{kept.mutable_data_ptr<T>(), sizes.keys}.from_row(row) : of_tile.matrix();
          probabilities_of(tile, example, sizes, mask, pair, columns, by_distance.matrix(), weights);
          T* result = attended.mutable_data_ptr<T>() + (example * sizes.queries + tile.row) * sizes.features();
          multiply<T>(weights.from_column(tile.begin), pair.values().from_row(tile.begin), tile.rows, sizes.size,
                      tile.keys(), {result + head * sizes.size, sizes.features()});
        }
      }
    });
  });
  return {attended, kept};
}

template <typename T>
struct SharedOfHead {
  T *distances, *content_bias, *distance_bias;
};

// Gradients of what all examples share: for each head as many as parts add to it, to be summed in their order.
template <typename T>
struct SharedGradients {
  Tensor distances, content_bias, distance_bias;

  SharedGradients(int64_t ways, const Sizes& sizes, const at::TensorOptions& options)
      : distances(at::zeros({ways, sizes.heads, sizes.width, sizes.size}, options)),
        content_bias(at::zeros({ways, sizes.heads, sizes.size}, options)),
        distance_bias(at::zeros({ways, sizes.heads, sizes.width}, options)) {}

  SharedOfHead<T> of(int64_t way, int64_t head) const {
    return {place(distances, way, head), place(content_bias, way, head), place(distance_bias, way, head)};
  }

 private:
  static T* place(const Tensor& gradient, int64_t way, int64_t head) {
    return gradient.mutable_data_ptr<T>() + way * gradient.stride(0) + head * gradient.stride(1);
  }
};

// Gradients of what one head of one example reads.
template <typename T>
class PairGradients {
 public:
  explicit PairGradients(const Sizes& sizes)
      : sizes_(sizes),
        queries_(sizes.queries, sizes.size),
        keys_(sizes.keys, sizes.size),
        values_(sizes.keys, sizes.size),
        scores_(tile_rows, sizes.keys),
        products_(tile_rows, sizes.keys + tile_rows) {}

  void clear() {
    keys_.clear();
    values_.clear();
  }

  // Adds those of one tile. `values` has one column for each key, `shared` begins at this head.
  void add(const Tile& tile, Pair<T>& pair, Matrix<const T> weights, Matrix<const T> gradient,
           Matrix<const T> values, Matrix<const T> distances, const SharedOfHead<T>& shared) {
    const Distances needed(tile, sizes_);
    const int64_t size = sizes_.size;
    const Matrix<T> scores = scores_.matrix(), products = products_.matrix();
    const Matrix<T> queries = queries_.matrix().from_row(tile.row);
    multiply<T>(gradient, values.from_column(tile.begin), tile.rows, tile.keys(), size, scores);
    multiply<T, Left::transposed>(weights, gradient, tile.keys(), size, tile.rows,
                                  values_.matrix().from_row(tile.begin), true);
    for (int64_t query = 0; query < tile.rows; ++query) {
      through_softmax(weights.row(query), scores.row(query), tile.keys());
      shift_back(scores.row(query), needed.shift(tile, query), needed.keys(tile, query), needed.rows,
                 products.row(query));
      rmem::add(products.row(query), shared.distance_bias + needed.first, needed.rows);
    }
    multiply<T, Left::transposed>(scores, pair.by_content().from_row(tile.row), tile.keys(), size, tile.rows,
                                  keys_.matrix().from_row(tile.begin), true);
    multiply<T>(scores, pair.keys().from_row(tile.begin), tile.rows, size, tile.keys(), queries);
    for (int64_t query = 0; query < tile.rows; ++query) rmem::add(queries.row(query), shared.content_bias, size);
    multiply<T>(products, distances.from_row(needed.first), tile.rows, size, needed.rows, queries, true);
    multiply<T, Left::transposed>(products, pair.scaled().from_row(tile.row), needed.rows, size, tile.rows,
                                  {shared.distances + needed.first * size, size}, true);
  }

  void write(T* projected, T* cached, T scale) {
    const int64_t features = sizes_.features(), size = sizes_.size;
    for (int64_t row = 0; row < sizes_.queries; ++row) {
      const T* from = queries_.matrix().row(row);
      for (int64_t unit = 0; unit < size; ++unit) projected[row * 3 * features + unit] = from[unit] * scale;
    }
    write_rows(keys_.matrix(), cached, projected + features);
    write_rows(values_.matrix(), cached + features, projected + 2 * features);
  }

 private:
  void write_rows(Matrix<T> from, T* cached, T* own) {
    const int64_t features = sizes_.features();
    copy_rows<T>(from, sizes_.cached, sizes_.size, {cached, 2 * features});
    copy_rows<T>(from.from_row(sizes_.cached), sizes_.queries, sizes_.size, {own, 3 * features});
  }

  static void through_softmax(const T* weights, T* scores, int64_t size) {
    Vector<T> sums(0);
    each_vector<T>(size, [&](int64_t first, int64_t count) {
      // Vectors that are not full are filled up with zeros.
      sums = at::vec::fmadd(load(weights + first, count), load(scores + first, count), sums);
    });
    const T sum = sum_of(sums);
    for (int64_t key = 0; key < size; ++key) scores[key] = weights[key] * (scores[key] - sum);
  }

  static void shift_back(const T* scores, int64_t shift, int64_t keys, int64_t columns, T* row) {
    std::fill(row, row + shift, T(0));
    std::copy_n(scores, keys, row + shift);
    std::fill(row + std::min(shift + keys, columns), row + columns, T(0));
  }

  const Sizes& sizes_;
  Buffer<T> queries_, keys_, values_, scores_, products_;
};

// The distance bias is not read: it is there so that a derivative by it alone is refused as well.
ArgumentGradients relative_attention_backward(const ResultGradient& of_result, const Operands& given,
                                              const Kept& from_forward) {
  const Tensor gradient = of_result.gradient.contiguous();
  const Tensor &projected = given.projected, &distances = given.distances, &content_bias = given.content_bias;
  const optional<Tensor>& cached = given.cached;
  const Tensor& kept = from_forward.kept;
  const Sizes sizes(projected, cached, distances);
  check(given, sizes);
  check_sizes("gradient", gradient, {sizes.batch, sizes.queries, sizes.features()});
  check_sizes("probabilities", kept, {sizes.heads, sizes.batch, sizes.queries, sizes.keys});
  check_contiguous(kept);
  const Mask mask(given.mask, sizes);
  const auto& options = projected.options();
  Tensor projected_grad = uninitialised(projected.sizes(), options);
  Tensor cached_grad = uninitialised({sizes.batch, sizes.cached, 2 * sizes.features()}, options);
  Tensor distances_grad, content_bias_grad, distance_bias_grad;
  AT_DISPATCH_FLOATING_TYPES(projected.scalar_type(), "relative_attention_backward", [&] {
    using T = scalar_t;
    const Shares shares(sizes);
    const SharedGradients<T> shared(shares.most_parts_of_a_head(), sizes, options);
    T* const own_grad = projected_grad.mutable_data_ptr<T>();
    T* const old_grad = cached_grad.mutable_data_ptr<T>();
    shares.run([&](int64_t part, int64_t begin, int64_t end) {
      Pair<T> pair(sizes, projected, cached, content_bias);
      PairGradients<T> gradients(sizes);
      Buffer<T> of_result(tile_rows, sizes.size), table(sizes.width, sizes.size);
      for (int64_t index = begin; index < end; ++index) {
        const int64_t head = index / sizes.batch, example = index % sizes.batch;
        pair.read(head, example);
        gradients.clear();
        if (index == begin || example == 0)
          copy_rows(of_head<T>(distances, head, sizes), sizes.width, sizes.size, table.matrix());
        const Matrix<T> values = pair.values_in_columns();
        for (const Tile& tile : mask.tiles(example)) {
          const T* from = gradient.const_data_ptr<T>() + (example * sizes.queries + tile.row) * sizes.features();
          copy_rows<T>({from + head * sizes.size, sizes.features()}, tile.rows, sizes.size, of_result.matrix());
          const Matrix<const T> weights{kept.const_data_ptr<T>(), sizes.keys};
          gradients.add(tile, pair, weights.from_row(index * sizes.queries + tile.row).from_column(tile.begin),
                        of_result.matrix(), values, table.matrix(), shared.of(part - shares.first_part(head), head));
        }
        gradients.write(own_grad + example * sizes.queries * 3 * sizes.features() + head * sizes.size,
                        old_grad + example * sizes.cached * 2 * sizes.features() + head * sizes.size, pair.scale());
      }
    });
    const double scale = 1 / std::sqrt(static_cast<double>(sizes.size));
    distances_grad = shared.distances.sum(0);
    content_bias_grad = shared.content_bias.sum(0).mul_(scale);
    distance_bias_grad = shared.distance_bias.sum(0).mul_(scale);
  });
  return {projected_grad, cached_grad, distances_grad, content_bias_grad, distance_bias_grad};
}

// ---------------------------------------------------------------------------------------------------------
// Differentiation

struct RelativeAttention {
  static constexpr auto name = "relative_attention";
  static constexpr auto forward = &relative_attention;
  static constexpr auto backward = &relative_attention_backward;

  static std::tuple<Operands, Kept> saved(const Results& results, const Operands& operands, const Keeping&) {
    return {operands, {results.kept}};
  }

  static Variables constant(const Results& results, const Operands&, const Keeping&) { return {results.kept}; }
};

}  // namespace
}  // namespace rmem

TORCH_LIBRARY_FRAGMENT(rmem, library) { rmem::Differentiable<rmem::RelativeAttention>::define(library); }
