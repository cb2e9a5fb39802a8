// Writes the models of known_answers.h, with the same symbols as in its formulas. Weight matrices are [out, in]; each consists of partial
// identities, rotations or columns of constants, which read and write the segments of the residual stream that `Parts` names.
#include "models/known_answers.h"

#include <array>
#include <cmath>
#include <filesystem>
#include <numbers>
#include <system_error>

#include "base/file.h"
#include "base/format.h"
#include "base/json.h"
#include "base/random.h"
#include "io/safetensors.h"
#include "text/tokenizer_json.h"

namespace clearhead {
namespace {

constexpr int64_t kBytes = 256, kCode = 16, kFrequencies = 16, kPosition = 2 * kFrequencies;
constexpr float kNoSink = -1e4F;        // no sink: gets no weight of a row (e^−10000)
constexpr double kPreviousSink = 0.85;  // fraction of s, between the largest wrong K (0.70) and 1
constexpr double kUnembedding = 32;     // logit of the byte that follows; any other byte has at most a quarter of it

// A quadratic form in bits x₀…x₃ is represented by six bits: the coefficients of x₀x₁, x₀x₂, x₀x₃, x₁x₂, x₁x₃, x₂x₃. It is
// non-singular if its Pfaffian is 1.
constexpr std::array<std::array<int, 2>, 6> kPairs = {{{0, 1}, {0, 2}, {0, 3}, {1, 2}, {1, 3}, {2, 3}}};

bool is_non_singular(unsigned form) {
  const auto bit = [&](int at) { return (form >> at) & 1U; };
  return ((bit(0) & bit(5)) ^ (bit(1) & bit(4)) ^ (bit(2) & bit(3))) != 0;
}

/// Extends `forms` to a Kerdock set: eight forms, including zero, such that the difference of any two is non-singular. Finds the first
/// set in lexicographic order, which exists.
bool extend_kerdock_set(std::vector<unsigned>& forms) {
  if (forms.size() == 8) return true;
  for (unsigned form = forms.back() + 1; form < 64; ++form) {
    bool fits = true;
    for (const unsigned other : forms) fits = fits && is_non_singular(form ^ other);
    if (!fits) continue;
    forms.push_back(form);
    if (extend_kerdock_set(forms)) return true;
    forms.pop_back();
  }
  return false;
}

/// The 256 words of the code: each form plus each of the 32 affine functions, as values of ±1/4.
std::vector<std::array<float, kCode>> nordstrom_robinson() {
  std::vector<unsigned> forms = {0};
  extend_kerdock_set(forms);
  std::vector<std::array<float, kCode>> words;
  for (const unsigned form : forms) {
    for (unsigned affine = 0; affine < 32; ++affine) {
      std::array<float, kCode> word{};
      for (unsigned x = 0; x < 16; ++x) {
        const auto bit = [&](int at) { return (x >> at) & 1U; };
        unsigned value = affine >> 4;
        for (int at = 0; at < 4; ++at) value ^= ((affine >> at) & 1U) & bit(at);
        for (int at = 0; at < 6; ++at)
          value ^= ((form >> at) & 1U) & bit(kPairs[static_cast<size_t>(at)][0]) & bit(kPairs[static_cast<size_t>(at)][1]);
        word[x] = value != 0 ? -0.25F : 0.25F;
      }
      words.push_back(word);
    }
  }
  return words;
}

/// The first channel of each segment of the residual stream.
struct Parts {
  int64_t writers = 0;  // number of heads that copy a byte code into a segment `before`
  int64_t byte() const { return 0; }
  int64_t position() const { return kCode; }
  int64_t one() const { return kCode + kPosition; }
  int64_t before(int64_t back) const { return one() + 1 + (back - 1) * kCode; }  // back = 1 … writers
  int64_t next() const { return before(writers + 1); }
  int64_t width() const { return (next() + kCode + 15) / 16 * 16; }
};

/// A matrix [out, in], initially zero, that is filled a few entries at a time.
struct Matrix {
  int64_t rows = 0, columns = 0;
  std::vector<float> values{};
  Matrix(int64_t out, int64_t in) : rows(out), columns(in), values(static_cast<size_t>(out * in)) {}
  float& at(int64_t row, int64_t column) { return values[static_cast<size_t>(row * columns + column)]; }
  /// out[row + c] = factor·in[column + c]
  void copy(int64_t row, int64_t column, int64_t count, double factor = 1) {
    for (int64_t c = 0; c < count; ++c) at(row + c, column + c) = static_cast<float>(factor);
  }
  /// out = factor·p(i + shift) from p(i): rotates each pair by ω·shift.
  void turn(int64_t row, int64_t column, double shift, double factor) {
    const std::vector<double> frequencies = known_frequencies();
    for (int64_t f = 0; f < kFrequencies; ++f) {
      const double angle = frequencies[static_cast<size_t>(f)] * shift;
      at(row + 2 * f, column + 2 * f) = static_cast<float>(factor * std::cos(angle));
      at(row + 2 * f, column + 2 * f + 1) = static_cast<float>(-factor * std::sin(angle));
      at(row + 2 * f + 1, column + 2 * f) = static_cast<float>(factor * std::sin(angle));
      at(row + 2 * f + 1, column + 2 * f + 1) = static_cast<float>(factor * std::cos(angle));
    }
  }
  Tensor tensor() const { return Tensor::from(values, {rows, columns}); }
};

/// One layer: the four weight matrices, and a sink logit per head. The rows of a head begin at head·d.
struct Layer {
  int64_t d = 0;
  Matrix query, key, value, output;
  std::vector<float> sinks;

  Layer(int64_t heads, int64_t head_dim, int64_t width)
      : d(head_dim),
        query(heads * head_dim, width),
        key(heads * head_dim, width),
        value(heads * head_dim, width),
        output(width, heads * head_dim),
        sinks(static_cast<size_t>(heads), kNoSink) {}

  /// Head `head` attends to position i + shift and copies the byte code there into the segment at `target`.
  void look_at_distance(int64_t head, const Parts& parts, double shift, double sharpness, int64_t target) {
    query.turn(head * d, parts.position(), shift, sharpness / kFrequencies);
    key.copy(head * d, parts.position(), kPosition);
    copy_byte(head, parts, target);
    sinks[static_cast<size_t>(head)] = static_cast<float>(kPreviousSink * sharpness);
  }
  void copy_byte(int64_t head, const Parts& parts, int64_t target) {
    value.copy(head * d, parts.byte(), kCode);
    output.copy(target, head * d, kCode);
  }
  void look_at_first(int64_t head, const Parts& parts, double sharpness) {
    for (int64_t f = 0; f < kFrequencies; ++f)
      query.at(head * d + 2 * f, parts.one()) = static_cast<float>(sharpness / kFrequencies);  // p(0) = (1, 0), …
    key.copy(head * d, parts.position(), kPosition);
  }
  void look_at_self(int64_t head, const Parts& parts, double sharpness) {
    query.turn(head * d, parts.position(), 0, sharpness / kFrequencies);
    key.copy(head * d, parts.position(), kPosition);
  }
  void store(io::NamedTensors& tensors, int64_t index) const {
    const std::string prefix = format("layers.{}.attention.", index);
    tensors.emplace_back(prefix + "query.weight", query.tensor());
    tensors.emplace_back(prefix + "key.weight", key.tensor());
    tensors.emplace_back(prefix + "value.weight", value.tensor());
    tensors.emplace_back(prefix + "output.weight", output.tensor());
    tensors.emplace_back(prefix + "sinks", Tensor::from(sinks, {static_cast<int64_t>(sinks.size())}));
  }
};

io::NamedTensors embeddings(const Parts& parts, uint64_t seed) {
  const std::vector<float> codes = known_byte_codes(seed);
  Matrix tokens(kBytes, parts.width()), positions(kPosition, parts.width());
  for (int64_t byte = 0; byte < kBytes; ++byte) {
    for (int64_t c = 0; c < kCode; ++c) tokens.at(byte, parts.byte() + c) = codes[static_cast<size_t>(byte * kCode + c)];
    tokens.at(byte, parts.one()) = 1;
  }
  positions.copy(0, parts.position(), kPosition);
  return {{"embed_tokens.weight", tokens.tensor()}, {"embed_positions.weight", positions.tensor()}};
}

/// An entry of "laws" in config.json: what a head computes, for documentation and viewers. The engine does not read it.
Json law(int64_t layer, int64_t head, std::string_view how, int64_t number = 0) {
  return Json::object({{"layer", layer}, {"head", head}, {"law", how}, {"number", number}});
}

struct Sizes {
  int64_t layers = 0, heads = 0, head_dim = 0;
  bool causal = false;
  Json windows{};  // null: no windows
};

Json config_of(const Sizes& sizes, const Parts& parts, double sharpness, uint64_t seed, Json laws) {
  Json frequencies = Json::array();
  for (const double frequency : known_frequencies()) frequencies.push(frequency);
  return Json::object(
      {{"model_type", "clearhead-attention"},
       {"architectures", Json(Json::Array{Json(sizes.causal ? "ClearheadAttentionForCausalLM" : "ClearheadAttentionModel")})},
       {"vocab_size", kBytes},
       {"hidden_size", parts.width()},
       {"num_hidden_layers", sizes.layers},
       {"num_attention_heads", sizes.heads},
       {"head_dim", sizes.head_dim},
       {"causal", sizes.causal},
       {"attention_scale", 1.0},
       {"attention_sinks", true},
       {"windows", sizes.windows},
       {"position_frequencies", std::move(frequencies)},
       {"known_answers", Json::object({{"sharpness", sharpness}, {"seed", static_cast<int64_t>(seed)}, {"laws", std::move(laws)}})}});
}

void write_directory(const std::string& directory, const Json& config, const io::NamedTensors& tensors) {
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  if (error) fail(ErrorCode::kIo, "{}: cannot create the directory: {}", directory, error.message());
  io::write_safetensors(directory + "/model.safetensors", tensors, {{"format", "pt"}});
  write_file(directory + "/tokenizer.json", byte_tokenizer_json());
  write_file(directory + "/config.json", config.dump(2) + "\n");
}

void check_sharpness(double sharpness) {
  if (!(sharpness >= 20 && sharpness <= 200)) fail(ErrorCode::kInvalidArgument, "sharpness: expected 20 to 200 nats, found {}", sharpness);
}

}  // namespace

std::vector<double> known_frequencies() {
  constexpr std::array<int, kFrequencies> kPrimes = {2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53};
  std::vector<double> frequencies;
  for (size_t f = 0; f < kPrimes.size(); ++f) {
    const double root = std::sqrt(static_cast<double>(kPrimes[f]));
    frequencies.push_back(std::numbers::pi * (static_cast<double>(f) + root - std::floor(root)) / static_cast<double>(kFrequencies));
  }
  return frequencies;
}

double known_position_kernel(double apart) {
  double sum = 0;
  for (const double frequency : known_frequencies()) sum += std::cos(frequency * apart);
  return sum / static_cast<double>(kFrequencies);
}

std::vector<float> known_byte_codes(uint64_t seed) {
  std::vector<std::array<float, kCode>> words = nordstrom_robinson();
  RandomSequence(seed).shuffle(words);
  std::vector<float> codes;
  for (const auto& word : words) codes.insert(codes.end(), word.begin(), word.end());
  return codes;
}

void write_known_model(const std::string& directory, const KnownCausal& options) {
  check_sharpness(options.sharpness);
  const int64_t matched = options.context;
  if (matched < 1 || matched > 4) fail(ErrorCode::kInvalidArgument, "context: expected 1 to 4 bytes, found {}", matched);
  Sizes sizes{2, std::max<int64_t>(matched, 2), kCode * std::max<int64_t>(matched, 2), true};
  if (options.window != 0 && options.window <= sizes.heads)
    fail(ErrorCode::kInvalidArgument, "window: expected 0, or at least {} keys, found {}", sizes.heads + 1, options.window);
  if (options.window != 0) sizes.windows = Json(Json::Array{Json(options.window), Json()});
  const double s = options.sharpness;
  const Parts parts{sizes.heads};
  Json laws = Json::array();

  Layer first(sizes.heads, sizes.head_dim, parts.width());
  for (int64_t head = 0; head < sizes.heads; ++head) {
    first.look_at_distance(head, parts, -static_cast<double>(head + 1), s, parts.before(head + 1));
    laws.push(law(0, head, "back", head + 1));
  }

  Layer second(sizes.heads, sizes.head_dim, parts.width());
  for (int64_t b = 0; b < matched; ++b) {
    second.query.copy(b * kCode, b == 0 ? parts.byte() : parts.before(b), kCode, s / static_cast<double>(matched));
    second.key.copy(b * kCode, parts.before(b + 1), kCode);
  }
  second.copy_byte(0, parts, parts.next());
  second.sinks[0] = static_cast<float>(s * (1 - 0.375 / static_cast<double>(matched)));
  laws.push(law(1, 0, "induction", matched));
  second.look_at_first(1, parts, s);
  laws.push(law(1, 1, "first"));
  for (int64_t head = 2; head < sizes.heads; ++head) {
    second.look_at_self(head, parts, s);
    laws.push(law(1, head, "self"));
  }

  io::NamedTensors tensors = embeddings(parts, options.seed);
  first.store(tensors, 0);
  second.store(tensors, 1);
  const std::vector<float> codes = known_byte_codes(options.seed);
  Matrix unembedding(kBytes, parts.width());
  for (int64_t byte = 0; byte < kBytes; ++byte) {
    for (int64_t c = 0; c < kCode; ++c)
      unembedding.at(byte, parts.next() + c) = static_cast<float>(kUnembedding) * codes[static_cast<size_t>(byte * kCode + c)];
  }
  tensors.emplace_back("lm_head.weight", unembedding.tensor());
  write_directory(directory, config_of(sizes, parts, s, options.seed, std::move(laws)), tensors);
}

void write_known_model(const std::string& directory, const KnownBidirectional& options) {
  check_sharpness(options.sharpness);
  const Sizes sizes{1, 2, kPosition, false};
  const Parts parts{1};
  Layer layer(sizes.heads, sizes.head_dim, parts.width());
  layer.look_at_distance(0, parts, -static_cast<double>(options.back), options.sharpness, parts.before(1));
  layer.query.copy(layer.d, parts.byte(), kCode, options.sharpness);
  layer.key.copy(layer.d, parts.byte(), kCode);
  layer.copy_byte(1, parts, parts.next());
  Json laws = Json::array();
  laws.push(law(0, 0, "back", options.back));
  laws.push(law(0, 1, "equal"));
  io::NamedTensors tensors = embeddings(parts, options.seed);
  layer.store(tensors, 0);
  write_directory(directory, config_of(sizes, parts, options.sharpness, options.seed, std::move(laws)), tensors);
}

}  // namespace clearhead
