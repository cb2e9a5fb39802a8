// Dense products by oneDNN: one matmul primitive per shape and epilogue, created once and run on the calling thread with
// our scratchpad.
//
//   attributes: eltwise (the activation), then sum (the residual), so that  out = f(x·W + b) + out
//
// Weights have one layout for every number of rows. oneDNN's AVX-512 brgemm kernels read panels of 64 columns
// ("BA16a64b", in bf16 "BA16a64b2a"). If the library would choose a layout that our own kernels cannot read (with AVX2,
// its gemm uses no panels), weights are stored as rows, and the library multiplies by the transpose. The brgemm kernels
// cannot read or write rows that are not adjacent; such rows are copied through thread-local memory.
//
// oneDNN never starts threads here. A product is split into tiles, each of which is computed by one thread. Columns are
// split by shape alone; rows are split anywhere, which does not change any bit. Threads take tiles one at a time
// (parallel_for). So bits do not depend on the number of threads, a descheduled thread delays only its tile, and a
// process has one thread pool.
#include "backends/cpu/dense/dnnl.h"

#include <dlfcn.h>
#include <oneapi/dnnl/dnnl_version.h>
#include <pthread.h>
#include <sys/mman.h>
#include <algorithm>
#include <array>
#include <csignal>
#include <cstddef>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <oneapi/dnnl/dnnl.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
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
  Tag wide, narrow, bytes;  // format tags for f32, bf16 and 8 bits
  memory::desc weights(int64_t in, int64_t out, bool is_bf16) const {
    return {{in, out}, is_bf16 ? memory::data_type::bf16 : memory::data_type::f32, is_bf16 ? narrow : wide};
  }
};
constexpr Panel kPanels[] = {{64, Tag::BA16a64b, Tag::BA16a64b2a, Tag::BA16a64b4a},
                             {48, Tag::BA16a48b, Tag::BA16a48b2a, Tag::BA16a48b4a},
                             {32, Tag::BA16a32b, Tag::BA16a32b2a, Tag::BA16a32b4a},
                             {16, Tag::BA16a16b, Tag::BA16a16b2a, Tag::BA16a16b4a}};

memory::desc weights_of(const WeightLayout& layout, bool is_bf16) {
  for (const Panel& panel : kPanels) {
    if (panel.width == layout.panel) return panel.weights(layout.in, layout.out, is_bf16);
  }
  return matrix_of(layout.in, layout.out, layout.in_step, layout.out_step, is_bf16);
}

// A primitive and the memory descriptors of its arguments.
struct Made {
  dnnl::matmul primitive{};
  memory::desc x{}, weights{}, bias{}, out{}, scratch{};
  // If is_arranged, the layout in which the weights are stored. They are reordered to `weights` at every call.
  memory::desc given{};
  bool is_arranged = false;
  bool is_gemm = false;  // whether oneDNN uses its BLAS-like gemm, not a kernel generated for the shape
};

// While an object of this class exists, OpenMP loops inside oneDNN run on the calling thread alone. The OpenMP functions
// are looked up by name, because the library may use any OpenMP runtime or none.
class OneThread {
 public:
  OneThread() : before_(count() ? count()() : 1) { set_to(1); }
  ~OneThread() { set_to(before_); }
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;

 private:
  using Count = int (*)();
  using Set = void (*)(int);
  static Count count() {
    static const auto found = reinterpret_cast<Count>(::dlsym(RTLD_DEFAULT, "omp_get_max_threads"));
    return found;
  }
  void set_to(int threads) const {
    static const auto set = reinterpret_cast<Set>(::dlsym(RTLD_DEFAULT, "omp_set_num_threads"));
    if (set && before_ != 1) set(threads);
  }
  int before_;
};

// While an object of this class exists, the calling thread handles only signals that its own instructions raise, and
// those on a separate stack. oneDNN's gemm (seen in 2.6) keeps data below the stack pointer, where the kernel puts the
// frame of a signal handler: a Ctrl-C or a timer of the host program would corrupt the heap.
class Undisturbed {
 public:
  Undisturbed() {
    static const sigset_t asynchronous = [] {
      sigset_t out;
      ::sigfillset(&out);
      for (const int signal : {SIGBUS, SIGSEGV, SIGFPE, SIGILL, SIGTRAP, SIGABRT}) ::sigdelset(&out, signal);
      return out;
    }();
    thread_local const OwnStack stack;
    ::pthread_sigmask(SIG_BLOCK, &asynchronous, &before_);
  }
  ~Undisturbed() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  Undisturbed(const Undisturbed&) = delete;
  Undisturbed& operator=(const Undisturbed&) = delete;

 private:
  // An alternate stack for handlers that request one (SA_ONSTACK), in threads that have none yet.
  struct OwnStack {
    OwnStack() {
      stack_t there{};
      if (::sigaltstack(nullptr, &there) != 0 || (there.ss_flags & SS_DISABLE) == 0) return;
      memory.resize(size_t{1} << 16);
      stack_t own{};
      own.ss_sp = memory.data();
      own.ss_size = memory.size();
      (void)::sigaltstack(&own, nullptr);
    }
    ~OwnStack() {
      if (memory.empty()) return;
      stack_t none{};
      none.ss_flags = SS_DISABLE;
      (void)::sigaltstack(&none, nullptr);
    }
    OwnStack(const OwnStack&) = delete;
    OwnStack& operator=(const OwnStack&) = delete;
    std::vector<std::byte> memory{};
  };

  sigset_t before_{};
};

// Returns `operand` advanced by `elements`, of two bytes each in bf16 and four in f32.
template <class Float>
Float* moved(Float* operand, int64_t elements, bool is_bf16) {
  using Byte = std::conditional_t<std::is_const_v<Float>, const std::byte, std::byte>;
  return reinterpret_cast<Float*>(reinterpret_cast<Byte*>(operand) + elements * (is_bf16 ? 2 : 4));
}

// The part of a product with `rows` rows from `row` on and `columns` outputs from `column` on.
Product part_of(const Product& whole, int64_t row, int64_t rows, int64_t column, int64_t columns) {
  Product out = whole;
  out.layout.out = out.layout.padded_out = columns;
  if (const int64_t panel = whole.layout.panel; panel > 0) {  // `column` is the first column of a panel
    out.layout = panels_layout(whole.layout.in, columns, panel, whole.is_bf16);
    out.weights = moved(whole.weights, column * whole.layout.padded_in, whole.is_bf16);
  } else {
    out.weights = moved(whole.weights, column * whole.layout.out_step, whole.is_bf16);
  }
  out.x = moved(whole.x, row * whole.x_stride, whole.is_bf16);
  out.rows = rows;
  if (whole.bias) out.bias = whole.bias + column;
  out.out = moved(whole.out, row * whole.out_stride + column, whole.rounds_out);
  return out;
}

// Calls f(piece) for pieces of at most `depth` inputs. Every piece except the first adds to out. Only for products without
// panels and activation.
template <class F>
void for_each_piece(const Product& whole, int64_t depth, const F& f) {
  for (int64_t first = 0; first < whole.layout.in; first += depth) {
    Product piece = whole;
    piece.layout.in = piece.layout.padded_in = std::min(depth, whole.layout.in - first);
    piece.weights = moved(whole.weights, first * whole.layout.in_step, whole.is_bf16);
    piece.x = moved(whole.x, first * whole.x_step, whole.is_bf16);
    if (first != 0) piece.bias = nullptr, piece.accumulate = true;
    f(piece);
  }
}

// Splits a product into tiles: as small as is worth a call, but at most kMost tiles unless one would take long. Tiles of
// gemm are halved along their longer side. Other tiles are blocks of rows, or of columns if there are few rows. A tile of
// rows reads all weights, which do not come from the core's own caches if they are large: tiles of 128 rows, if every
// thread gets two of them, are 10–15 % faster than tiles of 32 (BERT-base, two Zen 5 cores). The number of rows does not
// change any bit. bf16 weights stored as rows may be reordered for every tile, so their tiles have at least 256 rows.
std::vector<Product> tiles_of(const Product& p, bool is_gemm) {
  constexpr int64_t kLeastSide = 96, kLeastColumns = 128, kMost = 16;
  constexpr double kLongWork = 64e6;  // multiply-adds: about half a millisecond of one core
  const auto is_enough = [&](int64_t tiles) {
    const double work = static_cast<double>(p.rows) * static_cast<double>(p.layout.out) * static_cast<double>(p.layout.in);
    return 2 * tiles > kMost && work <= kLongWork * static_cast<double>(tiles);
  };
  const int64_t step = std::max<int64_t>(16, p.layout.panel);
  int64_t down = 1, across = 1;
  const int64_t least_rows = p.is_bf16 && p.layout.panel == 0 ? 256 : std::clamp<int64_t>(p.rows / (2 * threads()), 32, 128);
  const bool by_rows = !is_gemm && p.rows >= 2 * least_rows;
  while (!is_enough(down * across)) {
    const int64_t height = p.rows / down, width = p.layout.out / across;
    if (by_rows ? height >= 2 * least_rows : is_gemm && height >= width && height >= 2 * kLeastSide) {
      down *= 2;
    } else if (!by_rows && width >= 2 * (is_gemm ? kLeastSide : kLeastColumns)) {
      across *= 2;
    } else {
      break;
    }
  }
  const auto column_of = [&](int64_t c) { return c == across ? p.layout.out : p.layout.out * c / across / step * step; };
  std::vector<Product> out;
  for (int64_t at = 0; at < down * across; ++at) {
    const int64_t r = at / across, c = at % across;
    const int64_t row = p.rows * r / down, column = column_of(c);
    out.push_back(part_of(p, row, p.rows * (r + 1) / down - row, column, column_of(c + 1) - column));
  }
  return out;
}

// oneDNN's gemm reads a matrix line by line. Lines that are a multiple of 256 bytes apart share few cache sets: gemm then
// reaches 39–72 of a core's 104 Gflop/s. Such an operand (the gradient of a weight has two, the gradient of its inputs one)
// is copied to slightly longer lines, a few hundred inputs at a time: 84–88 Gflop/s.
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

[[noreturn]] void no_memory() { fail(ErrorCode::kBudget, "dense products: out of memory"); }

class Engine {
 public:
  static Engine& instance(InstructionSet isa) {
    static const bool limited = limit(isa);
    (void)limited;
    static Engine engine;
    return engine;
  }

  WeightLayout layout(int64_t in, int64_t out, bool is_bf16) {
    constexpr int64_t kManyRows = 128;
    const memory::desc any({in, out}, is_bf16 ? memory::data_type::bf16 : memory::data_type::f32, Tag::any);
    const auto made = describe(engine_, matrix_of(kManyRows, in, in, 1, is_bf16), any, nullptr, rows_of(kManyRows, out, out),
                               attributes_for(Activation::kNone, false));
    for (const Panel& panel : kPanels) {
      if (made.weights_desc() == panel.weights(in, out, is_bf16)) return panels_layout(in, out, panel.width, is_bf16);
    }
    return rows_layout(in, out);
  }

  std::optional<WeightLayout> byte_layout(int64_t in, int64_t out) {
    constexpr int64_t kManyRows = 128, kInputs = 64;
    const memory::desc any({in, out}, memory::data_type::s8, Tag::any);
    const auto made = describe(engine_, bytes_of(kManyRows, in), any, nullptr, sums_of(kManyRows, out), plain_attributes());
    for (const Panel& panel : kPanels) {
      if (made.weights_desc() != memory::desc({in, out}, memory::data_type::s8, panel.bytes)) continue;
      WeightLayout found = panels_layout(in, out, panel.width, /*is_bf16=*/false);
      found.padded_in = (in + kInputs - 1) / kInputs * kInputs;
      return found;
    }
    return std::nullopt;
  }

  void run(const ByteProduct& p) {
    thread_local dnnl::stream stream(engine_);
    thread_local Tensor scratch;
    const std::shared_ptr<const Made> found = made(p);
    const OneThread alone;
    const Undisturbed undisturbed;
    const auto at = [&](const memory::desc& like, const void* data) { return memory(like, engine_, const_cast<void*>(data)); };
    found->primitive.execute(stream, {{DNNL_ARG_SRC, at(found->x, p.x)},
                                      {DNNL_ARG_WEIGHTS, at(found->weights, p.weights)},
                                      {DNNL_ARG_DST, at(found->out, p.sums)},
                                      {DNNL_ARG_SCRATCHPAD, memory_in(scratch, found->scratch)}});
    stream.wait();
  }

  void run(const Product& product) {
    const std::shared_ptr<const Made> whole = made(product);
    if (whole->is_gemm && Copies::help(product)) {
      Copies copies;
      copies.run(product, [&](const Product& piece) { run_tiles(piece, *whole); });
    } else {
      run_tiles(product, *whole);
    }
  }

 private:
  void run_tiles(const Product& product, const Made& whole) {
    const std::vector<Product> tiles = tiles_of(product, whole.is_gemm);
    parallel_for(static_cast<int64_t>(tiles.size()), [&](int64_t at, int) {
      const Product& tile = tiles[static_cast<size_t>(at)];
      !whole.is_gemm && (has_inputs_apart(tile) || tile.out_stride != tile.layout.out) ? run_through_own(tile) : run_here(tile);
    });
  }

  // With weights stored as rows, the library has a kernel for inputs of any row stride.
  static bool has_inputs_apart(const Product& p) { return p.layout.panel > 0 && p.x_stride != p.layout.in; }

  void run_through_own(const Product& p) {
    thread_local std::vector<float> own_x, own_out;
    Product dense = p;
    if (has_inputs_apart(p)) {
      float* x = own_rows(own_x, p.rows * p.layout.in);
      copy_rows(p.x, p.x_stride, x, p.layout.in, {p.rows, p.layout.in}, p.is_bf16);
      dense.x = x;
      dense.x_stride = p.layout.in;
    }
    dense.out = own_rows(own_out, p.rows * p.layout.out);
    dense.out_stride = p.layout.out;
    const Extent whole{p.rows, p.layout.out};
    if (p.accumulate) copy_rows(p.out, p.out_stride, dense.out, dense.out_stride, whole, p.rounds_out);
    run_here(dense);
    copy_rows(dense.out, dense.out_stride, p.out, p.out_stride, whole, p.rounds_out);
  }

  static float* own_rows(std::vector<float>& memory, int64_t elements) {
    if (memory.size() < static_cast<size_t>(elements)) memory.resize(static_cast<size_t>(elements));
    return memory.data();
  }

  struct Extent {
    int64_t rows, width;
  };
  static void copy_rows(const float* from, int64_t from_stride, float* to, int64_t to_stride, Extent extent, bool is_bf16) {
    const auto bytes = static_cast<size_t>(extent.width) * (is_bf16 ? 2 : 4);
    for (int64_t row = 0; row < extent.rows; ++row)
      std::memcpy(moved(to, row * to_stride, is_bf16), moved(from, row * from_stride, is_bf16), bytes);
  }

  void run_here(const Product& p) {
    thread_local dnnl::stream stream(engine_);
    thread_local Tensor scratch, arranged;
    const std::shared_ptr<const Made> found = made(p);
    const OneThread alone;
    const Undisturbed undisturbed;
    const auto at = [&](const memory::desc& like, const float* data) { return memory(like, engine_, const_cast<float*>(data)); };
    memory weights = at(found->is_arranged ? found->given : found->weights, p.weights);
    if (found->is_arranged) {
      memory in_order = memory_in(arranged, found->weights);
      dnnl::reorder(weights, in_order).execute(stream, weights, in_order);
      weights = in_order;
    }
    std::unordered_map<int, memory> arguments = {{DNNL_ARG_SRC, at(found->x, p.x)},
                                                 {DNNL_ARG_WEIGHTS, weights},
                                                 {DNNL_ARG_DST, at(found->out, p.out)},
                                                 {DNNL_ARG_SCRATCHPAD, memory_in(scratch, found->scratch)}};
    if (p.bias) arguments.emplace(DNNL_ARG_BIAS, at(found->bias, p.bias));
    found->primitive.execute(stream, arguments);
    stream.wait();
  }

  // Thread-local memory of the size that the library requests.
  memory memory_in(Tensor& own, const memory::desc& like) {
    const auto bytes = static_cast<int64_t>(like.get_size());
    if (!own.defined() || own.numel() < bytes) own = Tensor::empty({bytes}, DType::kU8);
    return memory(like, engine_, own.mutable_raw());
  }

  using Key = std::array<int64_t, 14>;
  static constexpr size_t kMostPrimitives = 512;

  static bool limit(InstructionSet isa) {
    // Fails if something else in this process has already used the library; the library then keeps its choice.
    if (isa == InstructionSet::kAvx2) (void)dnnl::set_max_cpu_isa(dnnl::cpu_isa::avx2);
    return true;
  }

  std::shared_ptr<const Made> made(const Product& p) {
    const Key key = {p.layout.in, p.layout.out, p.layout.panel,    p.layout.in_step,      p.layout.out_step, p.rows,    p.x_stride,
                     p.x_step,    p.out_stride, p.bias != nullptr, int64_t(p.activation), p.accumulate,      p.is_bf16, p.rounds_out};
    return kept(key, p);
  }

  // The −1 separates these keys from those of f32 and bf16 products, which have the bias flag, 0 or 1, in its place.
  std::shared_ptr<const Made> made(const ByteProduct& p) {
    return kept({p.layout.in, p.layout.out, p.layout.panel, 0, 0, p.rows, 0, 0, 0, -1}, p);
  }

  template <class AnyProduct>
  std::shared_ptr<const Made> kept(const Key& key, const AnyProduct& p) {
    const std::lock_guard<std::mutex> hold(lock_);
    std::shared_ptr<const Made>& out = made_[key];
    if (!out) {
      const OneThread alone;
      check_room();
      auto fresh = std::make_shared<const Made>(make(p));
      // If every run has a new length, thousands of runs would fill memory, so the cache is cleared when it is full.
      if (made_.size() > kMostPrimitives) made_.clear();
      return made_[key] = std::move(fresh);
    }
    return out;
  }

  // Fails if memory is exhausted. oneDNN generates a kernel into pages that it maps and (seen in 2.6) writes to them even
  // if the mapping failed.
  static void check_room() {
    constexpr size_t kRoom = size_t{4} << 20;
    void* room = ::mmap(nullptr, kRoom, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (room == MAP_FAILED) no_memory();
    ::munmap(room, kRoom);
  }

  static memory::desc bytes_of(int64_t rows, int64_t in) { return {{rows, in}, memory::data_type::u8, Tag::ab}; }
  static memory::desc sums_of(int64_t rows, int64_t out) { return {{rows, out}, memory::data_type::s32, Tag::ab}; }
  static dnnl::primitive_attr plain_attributes() { return attributes_for(Activation::kNone, /*accumulate=*/false); }

  Made make(const ByteProduct& p) {
    Made made;
    const auto panel = std::find_if(std::begin(kPanels), std::end(kPanels), [&](const Panel& one) { return one.width == p.layout.panel; });
    made.x = bytes_of(p.rows, p.layout.in);
    made.weights = {{p.layout.in, p.layout.out}, memory::data_type::s8, panel->bytes};
    made.out = sums_of(p.rows, p.layout.out);
    const auto description = describe(engine_, made.x, made.weights, nullptr, made.out, plain_attributes());
    made.primitive = dnnl::matmul(description);
    made.scratch = description.scratchpad_desc();
    return made;
  }

  Made make(const Product& p) {
    Made made;
    made.x = matrix_of(p.rows, p.layout.in, p.x_stride, p.x_step, p.is_bf16);
    made.weights = weights_of(p.layout, p.is_bf16);
    made.bias = rows_of(1, p.layout.out, p.layout.out);
    made.out = matrix_of(p.rows, p.layout.out, p.out_stride, 1, p.rounds_out);
    // oneDNN's bf16 kernels cannot read rows that are not adjacent; its gemm can, at half their speed.
    made.is_arranged = p.is_bf16 && !p.in_training && p.layout.panel == 0 && p.layout.in_step == 1 && p.layout.out_step != p.layout.in;
    if (made.is_arranged) {
      const memory::dims shape = {p.layout.in, p.layout.out};
      made.given = std::exchange(made.weights, memory::desc(shape, memory::data_type::bf16, Tag::any));
    }
    const auto description =
        describe(engine_, made.x, made.weights, p.bias ? &made.bias : nullptr, made.out, attributes_for(p.activation, p.accumulate));
    made.weights = description.weights_desc();
    made.is_gemm = std::string_view(description.impl_info_str()).find("gemm") == 0;
    made.primitive = dnnl::matmul(description);
    made.scratch = description.scratchpad_desc();
    return made;
  }

  dnnl::engine engine_{dnnl::engine::kind::cpu, 0};
  std::mutex lock_;
  std::map<Key, std::shared_ptr<const Made>> made_;
};

bool multiplies_bf16() {
  static const bool has_instructions = __builtin_cpu_supports("avx512bf16") != 0;
  return has_instructions;
}

// Runs `action`. Returns false if the library has no kernel for it and `may_lack` is set. Translates other exceptions of
// oneDNN, which say little, to errors that name the product.
template <class Action>
bool is_there(int64_t rows, int64_t in, int64_t out, bool may_lack, const Action& action) {
  try {
    action();
    return true;
  } catch (const dnnl::error& error) {
    if (may_lack && error.status == dnnl_unimplemented) return false;
    if (error.status == dnnl_out_of_memory) no_memory();
    fail(ErrorCode::kUnsupported, "dense product of {} × {} by {} × {}: oneDNN {}: {}", rows, in, in, out, onednn_version(), error.message);
  }
}

bool run_product(const Product& product, bool may_lack) {
  if (product.rows == 0) return true;
  return is_there(product.rows, product.layout.in, product.layout.out, may_lack,
                  [&] { Engine::instance(InstructionSet::kAvx512).run(product); });
}

}  // namespace

WeightLayout wanted_layout(int64_t in, int64_t out, InstructionSet isa, bool is_bf16) {
  WeightLayout found = rows_layout(in, out);
  if (is_bf16 && !multiplies_bf16()) return found;
  (void)is_there(1, in, out, is_bf16, [&] { found = Engine::instance(isa).layout(in, out, is_bf16); });
  return found;
}

void multiply(const Product& product) { (void)run_product(product, /*may_lack=*/false); }

bool multiply_bf16(const Product& product) { return multiplies_bf16() && run_product(product, /*may_lack=*/true); }

std::optional<WeightLayout> byte_layout(int64_t in, int64_t out) {
  static const bool has_instructions = __builtin_cpu_supports("avx512vnni") != 0;
  if (!has_instructions) return std::nullopt;
  std::optional<WeightLayout> found;
  (void)is_there(1, in, out, /*may_lack=*/true, [&] {
    Engine& engine = Engine::instance(InstructionSet::kAvx512);
    constexpr auto kVnni = static_cast<unsigned>(dnnl::cpu_isa::avx512_core_vnni);
    if ((static_cast<unsigned>(dnnl::get_effective_cpu_isa()) & kVnni) == kVnni) found = engine.byte_layout(in, out);
  });
  return found;
}

void multiply_bytes(const ByteProduct& product) {
  (void)is_there(product.rows, product.layout.in, product.layout.out, /*may_lack=*/false,
                 [&] { Engine::instance(InstructionSet::kAvx512).run(product); });
}

const char* onednn_version() {
  static const std::string version = [] {
    const dnnl_version_t* of_library = dnnl_version();
    return format("{}.{}.{}", of_library->major, of_library->minor, of_library->patch);
  }();
  return version.c_str();
}

}  // namespace clearhead::cpu
