// What is asked of oneDNN: one matmul primitive per shape and epilogue, made once, with our scratchpad and our threads.
//
//   attributes: eltwise (the activation), then sum (the residual), so that  out = f(x·W + b) + out
//
// Weights keep one layout for every number of rows. The brgemm kernels of AVX-512 take panels of 64 columns ("BA16a64b"); where the library
// would choose anything we cannot also read by ourselves (AVX2's gemm: none), weights are rows and it multiplies by the transpose.
// One product runs at a time in a process: it already uses every core.
//
// oneDNN may share the inner sums of a product between threads (AVX2's gemm of a small one; AVX-512's of a long one for a weight's gradient), so that their bits
// would depend on how many there are. In training such a product is cut by its shape alone: AVX-512's into pieces too short to share, added one after
// another; others into tiles, each of which is one thread's.
#include "backends/cpu/dnnl.h"

#include <oneapi/dnnl/dnnl_version.h>
#include <algorithm>
#include <array>
#include <map>
#include <mutex>
#include <oneapi/dnnl/dnnl.hpp>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/format.h"
#include "base/grain.h"
#include "base/parallel.h"

namespace clearhead::cpu {
namespace {

using dnnl::memory;
using Tag = memory::format_tag;

memory::desc matrix_of(int64_t rows, int64_t columns, int64_t row, int64_t column, bool is_bf16 = false) {
  return memory::desc({rows, columns}, is_bf16 ? memory::data_type::bf16 : memory::data_type::f32, memory::dims{row, column});
}

memory::desc rows_of(int64_t rows, int64_t width, int64_t stride) { return matrix_of(rows, width, stride, 1); }

dnnl::matmul::primitive_desc describe(const dnnl::engine& engine, const memory::desc& x, const memory::desc& weights,
                                      const memory::desc* bias, const memory::desc& out, const dnnl::primitive_attr& attributes) {
#if DNNL_VERSION_MAJOR >= 3
  return bias ? dnnl::matmul::primitive_desc(engine, x, weights, *bias, out, attributes)
              : dnnl::matmul::primitive_desc(engine, x, weights, out, attributes);
#else
  return bias ? dnnl::matmul::primitive_desc(dnnl::matmul::desc(x, weights, *bias, out), attributes, engine)
              : dnnl::matmul::primitive_desc(dnnl::matmul::desc(x, weights, out), attributes, engine);
#endif
}

void append(dnnl::post_ops& operations, dnnl::algorithm algorithm, float alpha) {
#if DNNL_VERSION_MAJOR >= 3
  operations.append_eltwise(algorithm, alpha, 0.0F);
#else
  operations.append_eltwise(1.0F, algorithm, alpha, 0.0F);
#endif
}

dnnl::primitive_attr attributes_for(Activation activation, bool accumulate) {
  dnnl::post_ops operations;
  switch (activation) {
    case Activation::kNone: break;
    case Activation::kGeluErf: append(operations, dnnl::algorithm::eltwise_gelu_erf, 0); break;
    case Activation::kGeluTanh: append(operations, dnnl::algorithm::eltwise_gelu_tanh, 0); break;
    case Activation::kRelu: append(operations, dnnl::algorithm::eltwise_relu, 0); break;
    case Activation::kSilu: append(operations, dnnl::algorithm::eltwise_swish, 1); break;
    case Activation::kTanh: append(operations, dnnl::algorithm::eltwise_tanh, 0); break;
    case Activation::kSigmoid: append(operations, dnnl::algorithm::eltwise_logistic, 0); break;
  }
  if (accumulate) operations.append_sum(1.0F);
  dnnl::primitive_attr attributes;
  attributes.set_post_ops(operations);
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  return attributes;
}

struct Panel {
  int64_t width;
  Tag tag;
};
constexpr Panel kPanels[] = {{64, Tag::BA16a64b}, {48, Tag::BA16a48b}, {32, Tag::BA16a32b}, {16, Tag::BA16a16b}};
// From this length of inner sums on, AVX-512's kernels may share those of a transposed left matrix (oneDNN's brgemm_matmul_utils.cpp).
constexpr int64_t kInnerToShare = 2048;
// So many are not shared, in bf16 either, and x and the weights of so many stay in the second cache.
constexpr int64_t kInnerAlone = 512;
static_assert(kInnerAlone < kInnerToShare);
constexpr int64_t kPanelDepth = 16;  // the inputs of a panel are padded to this

memory::desc weights_of(const WeightLayout& layout, bool is_bf16) {
  const memory::dims shape = {layout.in, layout.out};
  for (const Panel& panel : kPanels) {
    if (panel.width == layout.panel) return memory::desc(shape, memory::data_type::f32, panel.tag);
  }
  return matrix_of(layout.in, layout.out, layout.in_step, layout.out_step, is_bf16);
}

// A primitive, with what its arguments look like.
struct Made {
  dnnl::matmul primitive{};
  memory::desc x{}, weights{}, bias{}, out{};
  memory scratch{};
  memory::desc given{};  // the weights as they are stored, where the kernel reads them arranged as `weights`: put in order at every call
  bool is_arranged = false;
  bool is_gemm = false;    // oneDNN's BLAS-like gemm, not a kernel made for the shape
  bool may_share = false;  // inner sums between threads
};

const float* moved(const Product& product, const float* operand, int64_t elements) {  // of two bytes where they are bf16
  return product.is_bf16 ? reinterpret_cast<const float*>(reinterpret_cast<const uint16_t*>(operand) + elements) : operand + elements;
}

// The rows of a product from `row` on and its outputs from `column` on.
Product part_of(const Product& whole, int64_t row, int64_t rows, int64_t column, int64_t columns) {
  Product out = whole;
  out.layout.out = out.layout.padded_out = columns;
  out.weights = moved(whole, whole.weights, column * whole.layout.out_step);
  out.x = moved(whole, whole.x, row * whole.x_stride);
  out.rows = rows;
  if (whole.bias) out.bias = whole.bias + column;
  out.out = whole.out + row * whole.out_stride + column;
  return out;
}

// Calls f(piece) for at most `depth` inputs after others, which adds to what those before it left in out. Without panels and activation.
template <class F>
void for_each_piece(const Product& whole, int64_t depth, const F& f) {
  for (int64_t first = 0; first < whole.layout.in; first += depth) {
    Product piece = whole;
    piece.layout.in = piece.layout.padded_in = std::min(depth, whole.layout.in - first);
    piece.weights = moved(whole, whole.weights, first * whole.layout.in_step);
    piece.x = moved(whole, whole.x, first * whole.x_step);
    if (first != 0) piece.bias = nullptr, piece.accumulate = true;
    f(piece);
  }
}

std::vector<Product> tiles_of(const Product& p) {
  constexpr int64_t kLeastSide = 96,
                    kMost = 16;  // smaller ones are slower by one thread, more of them are not needed by more threads than that
  int64_t down = 1, across = 1;
  while (2 * down * across <= kMost) {  // the longer side is halved
    const int64_t height = p.rows / down, width = p.layout.out / across;
    if (std::max(height, width) < 2 * kLeastSide) break;
    (height >= width ? down : across) *= 2;
  }
  std::vector<Product> out;
  for (int64_t at = 0; at < down * across; ++at) {
    const int64_t r = at / across, c = at % across;
    const int64_t row = p.rows * r / down, column = p.layout.out * c / across;
    out.push_back(part_of(p, row, p.rows * (r + 1) / down - row, column, p.layout.out * (c + 1) / across - column));
  }
  return out;
}

// oneDNN's gemm walks down a matrix by lines, and lines a multiple of 256 bytes apart share few sets of the cache: 39–72 of a core's 104 Gflop/s. An operand of
// such lines (a weight's gradient has two, its inputs' one) is copied to lines a little longer, a piece of the inner sums at a time: 84–88.
class Copies {
 public:
  static bool help(const Product& p) {
    return !p.is_bf16 && p.activation == Activation::kNone && (clash(p.x_step) || clash(p.layout.in_step));
  }

  /// Calls `multiplied` for each piece of the product.
  template <class Multiplied>
  void run(const Product& whole, const Multiplied& multiplied) {
    constexpr int64_t kMostElements = int64_t{1} << 20, kLeast = 128, kMost = 512;
    const int64_t depth = std::clamp(kMostElements / (whole.rows + whole.layout.out), kLeast, kMost);
    for_each_piece(whole, depth, [&](Product piece) {
      const Lines x = lines_of(x_, {piece.x, piece.x_step}, piece.layout.in, piece.rows);
      const Lines weights = lines_of(weights_, {piece.weights, piece.layout.in_step}, piece.layout.in, piece.layout.out);
      piece.x = x.first, piece.x_step = x.step;
      piece.weights = weights.first, piece.layout.in_step = weights.step;
      multiplied(piece);
    });
  }

 private:
  struct Lines {
    const float* first;
    int64_t step;  // between lines
  };
  static bool clash(int64_t step) { return step > 1 && step % 64 == 0; }

  static Lines lines_of(std::vector<float>& memory, const Lines& from, int64_t count, int64_t width) {
    if (!clash(from.step)) return from;
    const int64_t step = width + 16;
    if (const auto needed = static_cast<size_t>(count * step); memory.size() < needed) memory.resize(needed);
    parallel_ranges(count, grain_of(width), [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; ++i) std::copy_n(from.first + i * from.step, width, memory.data() + i * step);
    });
    return {memory.data(), step};
  }

  std::vector<float> x_, weights_;
};

class Engine {
 public:
  static Engine& instance(InstructionSet isa) {
    static const bool limited = limit(isa);
    (void)limited;
    static Engine engine;
    return engine;
  }

  WeightLayout layout(int64_t in, int64_t out) {
    constexpr int64_t kManyRows = 128;
    const memory::desc any({in, out}, memory::data_type::f32, Tag::any);
    const auto made =
        describe(engine_, rows_of(kManyRows, in, in), any, nullptr, rows_of(kManyRows, out, out), attributes_for(Activation::kNone, false));
    for (const Panel& panel : kPanels) {
      if (made.weights_desc() != memory::desc({in, out}, memory::data_type::f32, panel.tag)) continue;
      const auto padded = [](int64_t n, int64_t to) { return (n + to - 1) / to * to; };
      return {in, out, panel.width, padded(in, kPanelDepth), padded(out, panel.width)};
    }
    return rows_layout(in, out);
  }

  void run(const Product& product) {
    const std::lock_guard<std::mutex> hold(lock_);
    multiply(product);
  }

 private:
  void multiply(const Product& product) {
    (void)align_library_threads();
    const Made& made = find(product, threads());
    if (!made.may_share || !product.in_training) return run(made, product, stream_, made.scratch);
    if (made.is_gemm && Copies::help(product)) return copies_.run(product, [&](const Product& piece) { run_tiles(piece); });
    if (made.is_gemm || product.activation != Activation::kNone) return run_tiles(product);
    for_each_piece(product, kInnerAlone, [&](const Product& piece) { multiply(piece); });
  }

  void run_tiles(const Product& product) {
    (void)align_library_threads(1);
    const std::vector<Product> tiles = tiles_of(product);
    if (made_.size() + tiles.size() > kMostPrimitives) made_.clear();  // not while some of them are held
    std::vector<const Made*> made;
    for (const Product& tile : tiles) made.push_back(&find(tile, 1));
    parallel_for(static_cast<int64_t>(tiles.size()), [&](int64_t at, int) {
      dnnl::stream stream(engine_);
      const Made& shared = *made[static_cast<size_t>(at)];
      run(shared, tiles[static_cast<size_t>(at)], stream, memory(shared.scratch.get_desc(), engine_));
    });
  }

  void run(const Made& made, const Product& p, dnnl::stream& stream, const memory& scratch) {
    const auto at = [&](const memory::desc& like, const float* data) { return memory(like, engine_, const_cast<float*>(data)); };
    const memory weights = made.is_arranged ? arranged(made, at(made.given, p.weights), stream) : at(made.weights, p.weights);
    std::unordered_map<int, memory> arguments = {
        {DNNL_ARG_SRC, at(made.x, p.x)}, {DNNL_ARG_WEIGHTS, weights}, {DNNL_ARG_DST, at(made.out, p.out)}, {DNNL_ARG_SCRATCHPAD, scratch}};
    if (p.bias) arguments.emplace(DNNL_ARG_BIAS, at(made.bias, p.bias));
    made.primitive.execute(stream, arguments);
    stream.wait();
  }

  memory arranged(const Made& made, memory given, dnnl::stream& stream) {
    const auto bytes = static_cast<int64_t>(made.weights.get_size());
    if (!arranged_.defined() || arranged_.numel() < bytes) arranged_ = Tensor::empty({bytes}, DType::kU8);
    memory out(made.weights, engine_, arranged_.mutable_raw());
    dnnl::reorder(given, out).execute(stream, given, out);
    return out;
  }

  using Key = std::array<int64_t, 15>;
  static constexpr size_t kMostPrimitives = 512;

  static bool limit(InstructionSet isa) {
    // Refused once the library has been used by somebody else in this process: then it keeps what it chose.
    if (isa == InstructionSet::kAvx2) (void)dnnl::set_max_cpu_isa(dnnl::cpu_isa::avx2);
    return true;
  }

  Made& find(const Product& p, int with_threads) {
    const Key key = {
        p.layout.in,  p.layout.out,      p.layout.panel,        p.layout.in_step, p.layout.out_step,     p.rows,    p.x_stride,  p.x_step,
        p.out_stride, p.bias != nullptr, int64_t(p.activation), p.accumulate,     int64_t{with_threads}, p.is_bf16, p.rounds_out};
    const auto found = made_.find(key);
    if (found != made_.end()) return found->second;
    if (made_.size() >= kMostPrimitives) made_.clear();  // a new length a run, thousands of runs: start again rather than grow
    return made_.emplace(key, make(p)).first->second;
  }

  Made make(const Product& p) {
    Made made;
    made.x = matrix_of(p.rows, p.layout.in, p.x_stride, p.x_step, p.is_bf16);
    made.weights = weights_of(p.layout, p.is_bf16);
    made.bias = rows_of(1, p.layout.out, p.layout.out);
    made.out = matrix_of(p.rows, p.layout.out, p.out_stride, 1, p.rounds_out);
    // oneDNN's kernels for bf16 take no rows that stand apart: its gemm would, at half their speed.
    made.is_arranged = p.is_bf16 && !p.in_training && p.layout.in_step == 1 && p.layout.out_step != p.layout.in;
    if (made.is_arranged) {
      const memory::dims shape = {p.layout.in, p.layout.out};
      made.given = std::exchange(made.weights, memory::desc(shape, memory::data_type::bf16, Tag::any));
    }
    const auto description =
        describe(engine_, made.x, made.weights, p.bias ? &made.bias : nullptr, made.out, attributes_for(p.activation, p.accumulate));
    made.weights = description.weights_desc();
    made.is_gemm = std::string_view(description.impl_info_str()).find("gemm") == 0;
    made.may_share = made.is_gemm || (p.x_step != 1 && p.layout.in > (p.is_bf16 ? kInnerAlone : kInnerToShare - 1));
    made.primitive = dnnl::matmul(description);
    made.scratch = memory(description.scratchpad_desc(), engine_);
    return made;
  }

  dnnl::engine engine_{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream_{engine_};
  std::mutex lock_;
  std::map<Key, Made> made_;
  Copies copies_;
  Tensor arranged_;  // u8: weights of the product that runs
};

// oneDNN's exception says little; ours names the product.
template <class Action>
auto translated(int64_t rows, int64_t in, int64_t out, const Action& action) {
  try {
    return action();
  } catch (const dnnl::error& error) {
    fail(ErrorCode::kUnsupported, "dense product of {} × {} by {} × {}: oneDNN {}: {}", rows, in, in, out, onednn_version(), error.message);
  }
}

}  // namespace

WeightLayout wanted_layout(int64_t in, int64_t out, InstructionSet isa) {
  return translated(1, in, out, [&] { return Engine::instance(isa).layout(in, out); });
}

void multiply(const Product& product) {
  if (product.rows == 0) return;
  if (in_parallel()) fail(ErrorCode::kInvalidArgument, "dense product: called inside a parallel region");
  translated(product.rows, product.layout.in, product.layout.out, [&] { Engine::instance(InstructionSet::kAvx512).run(product); });
}

bool multiply_bf16(const Product& product) {
  static const bool has_instructions = __builtin_cpu_supports("avx512bf16") != 0;
  if (product.rows == 0) return true;
  if (!has_instructions) return false;
  if (in_parallel()) fail(ErrorCode::kInvalidArgument, "dense product: called inside a parallel region");
  try {
    Engine::instance(InstructionSet::kAvx512).run(product);
    return true;
  } catch (const dnnl::error& error) {
    if (error.status == dnnl_unimplemented) return false;
    return translated(product.rows, product.layout.in, product.layout.out, [&]() -> bool { throw error; });
  }
}

const char* onednn_version() {
  static const std::string version = [] {
    const dnnl_version_t* of_library = dnnl_version();
    return format("{}.{}.{}", of_library->major, of_library->minor, of_library->patch);
  }();
  return version.c_str();
}

}  // namespace clearhead::cpu
