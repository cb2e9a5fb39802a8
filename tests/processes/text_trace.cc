// Writes the trace of a text with planted attention, for the browser tests:
//
//   clearhead-text-trace DESCRIPTION.json OUT.trace
//
//   {"name": "known-answers", "text": "FILE", "tokens": [[begin, end, id, special], …], "segments": [{"name", "role", "begin", "end"}],
//    "layers": 2, "heads": 4, "sharpness": 1, "backs": [63, null], "generated": [0.5, …], "rows": [[begin, end], …],
//    "families": [{"name": "enc", "kind": "full" | "causal", "queries": [begin, end], "keys": [begin, end], "segment_length": 64}]}
//
// "backs" limits, per layer, how many keys before its own a causal query sees; [] means no limit. A family without "queries" covers the
// whole text. "generated" has the probabilities of the text's last tokens. "rows" are the queries that are kept, as under a small budget;
// [] keeps all.
//
// The vectors of a head have three components: position (angles at four speeds), the token's random vector (for an induction head: that
// of the token before), and a constant that makes the first token a sink. The kind of the head determines the amount of each. `attend`
// computes the weights and a Trace keeps them, as with any model.
#include <array>
#include <cmath>
#include <cstdio>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/json.h"
#include "clearhead/attend.h"
#include "clearhead/error.h"
#include "clearhead/trace.h"

namespace {

using namespace clearhead;

constexpr int64_t kD = 32, kContent = 20;

struct HeadKind {
  int64_t back;  // distance of the position that it attends to
  double position, content, sink, speed;
  bool matches_previous;  // attends to tokens that follow an equal token
};
constexpr std::array<HeadKind, 8> kKinds{{{1, 9, 0.3, 0.5, 1, false},    // previous token
                                          {0, 0.4, 5, 2.5, 1, false},    // duplicates
                                          {0, 4, 0.8, 3, 0.5, false},    // local
                                          {0, 0.5, 0.7, 6.5, 1, false},  // first token
                                          {0, 0.2, 6, 4.4, 1, true},     // induction
                                          {0, 0.3, 0.9, 2.2, 1, false},  // broad
                                          {0, 0.1, 3.2, 4, 1, false},    // retrieval
                                          {0, 7, 0.6, 1, 1, false}}};    // self

const HeadKind& kind_of(int64_t layer, int64_t head) { return kKinds[static_cast<size_t>((head + layer * 3) % 8)]; }

/// A unit vector that depends on the token's id and on the head only.
std::array<double, kContent> content_of(int32_t id, int64_t head) {
  uint32_t state = (static_cast<uint32_t>(id + 1) * 2654435761u) ^ (static_cast<uint32_t>(head % 4) * 40503u);
  std::array<double, kContent> out{};
  double norm = 0;
  for (double& value : out) {
    state = (state ^ (state >> 15)) * 2246822519u + 374761393u;
    value = static_cast<double>((state >> 8) & 0xFFFF) / 32768 - 1;
    norm += value * value;
  }
  for (double& value : out) value /= std::sqrt(norm);
  return out;
}

struct Vectors {
  Tensor q{}, k{};
};

/// Queries and keys of a layer for all tokens, [1, head, token, d].
Vectors vectors_of(const std::vector<int32_t>& ids, int64_t layer, int64_t heads, double sharpness) {
  const int64_t count = static_cast<int64_t>(ids.size());
  Vectors out{Tensor::zeros({1, heads, count, kD}), Tensor::zeros({1, heads, count, kD})};
  constexpr double kSpeeds[] = {1.3, 0.37, 0.09, 0.02}, kShares[] = {0.45, 0.3, 0.17, 0.08};
  for (int64_t head = 0; head < heads; ++head) {
    const HeadKind& kind = kind_of(layer, head);
    const double content = kind.content + static_cast<double>(layer % 3) * 0.2, scale = std::sqrt(double{kD}) * sharpness;
    for (int64_t i = 0; i < count; ++i) {
      float* q = out.q.mutable_data<float>() + (head * count + i) * kD;
      float* k = out.k.mutable_data<float>() + (head * count + i) * kD;
      for (int s = 0; s < 4; ++s) {
        const double speed = kSpeeds[s] * kind.speed, from = static_cast<double>(i - kind.back) * speed,
                     at = static_cast<double>(i) * speed;
        q[2 * s] = static_cast<float>(scale * kind.position * kShares[s] * std::cos(from));
        q[2 * s + 1] = static_cast<float>(scale * kind.position * kShares[s] * std::sin(from));
        k[2 * s] = static_cast<float>(std::cos(at));
        k[2 * s + 1] = static_cast<float>(std::sin(at));
      }
      const auto own = content_of(ids[static_cast<size_t>(i)], head);
      const auto matched = kind.matches_previous && i > 0 ? content_of(ids[static_cast<size_t>(i - 1)], head) : own;
      for (int64_t c = 0; c < kContent; ++c) {
        q[8 + c] = static_cast<float>(scale * content * own[static_cast<size_t>(c)]);
        k[8 + c] = static_cast<float>(matched[static_cast<size_t>(c)]);
      }
      q[30] = static_cast<float>(scale);
      k[30] = i == 0 ? static_cast<float>(kind.sink) : 0;
    }
  }
  return out;
}

/// ‖v‖ and ‖v·W_O‖: numbers that differ from key to key.
KeyNorms norms_of(int64_t heads, Range keys) {
  KeyNorms out{Tensor::zeros({1, heads, keys.size()}), Tensor::zeros({1, heads, keys.size()})};
  for (int64_t at = 0; at < heads * keys.size(); ++at) {
    const double wave = 0.5 * std::abs(std::sin(static_cast<double>(keys.begin + at % keys.size()) * 12.9898));
    out.value.mutable_data<float>()[at] = static_cast<float>(0.6 + wave);
    out.output.mutable_data<float>()[at] = static_cast<float>(0.35 + wave);
  }
  return out;
}

Range range_of(const Json& json) { return {json.items()[0].integer(), json.items()[1].integer()}; }

RunText text_of(Fields& fields) {
  RunText out;
  out.text = read_file(fields.string("text"));
  for (const Json& token : fields.items("tokens")) {
    const Json::Array& item = token.items();
    const int64_t begin = item[0].integer(), end = item[1].integer();
    out.offsets.push_back({begin, end});
    out.ids.push_back(static_cast<int32_t>(item[2].integer()));
    out.special.push_back(static_cast<uint8_t>(item[3].integer()));
    out.pieces.push_back(out.text.substr(static_cast<size_t>(begin), static_cast<size_t>(end - begin)));
  }
  for (const Json& segment : fields.items("segments")) {
    Fields own(segment, fields.where(), "segments");
    out.segments.push_back({own.string("name"), own.string_or("role", ""), own.integer("begin"), own.integer("end")});
    own.refuse_rest();
  }
  return out;
}

struct Covered {
  MapFamily family{};
  Range queries{}, keys{};
};

Covered family_of(const Json& json, const std::string& where, int64_t tokens, int64_t layers, int64_t heads) {
  Fields fields(json, where, "families");
  Covered out;
  const Json *queries = fields.take("queries"), *keys = fields.take("keys");
  out.queries = queries ? range_of(*queries) : Range{0, tokens};
  out.keys = keys ? range_of(*keys) : Range{0, tokens};
  out.family = {.name = fields.string("name"),
                .layers = static_cast<int>(layers),
                .heads = heads,
                .key_heads = heads,
                .d_k = kD,
                .queries = out.queries.size(),
                .keys = out.keys.size(),
                .causal = fields.string("kind") == "causal",
                .is_part = queries != nullptr,
                .first_query = out.queries.begin,
                .first_key = out.keys.begin,
                .segment_length = fields.integer_or("segment_length", 0)};
  fields.refuse_rest();
  return out;
}

/// Options that keep only these rows, or all if there are none.
TraceOptions options_of(const RunPlan& plan, const Json::Array& rows) {
  TraceOptions options;
  if (rows.empty()) return options;
  for (const Json& range : rows) options.rows.push_back(range_of(range));
  options.tail = 0;
  const TraceSize all = Trace::size_of(plan, options);
  options.budget_bytes = all.keys + all.statistics + all.queries - 1;  // one byte too few to keep all
  return options;
}

Trace trace_of(const Json& description, const std::string& where) {
  Fields fields(description, where);
  RunPlan plan;
  plan.model = fields.string("name");
  plan.text = text_of(fields);
  const int64_t layers = fields.integer("layers"), heads = fields.integer("heads"), tokens = plan.text.tokens();
  std::vector<Covered> families;
  for (const Json& json : fields.items("families")) {
    families.push_back(family_of(json, where, tokens, layers, heads));
    plan.families.push_back(families.back().family);
  }
  const Json::Array& backs = fields.items("backs");
  const double sharpness = fields.number("sharpness");
  Trace trace(options_of(plan, fields.items("rows")));
  trace.begin(plan);
  for (int64_t layer = 0; layer < layers; ++layer) {
    const Vectors all = vectors_of(plan.text.ids, layer, heads, sharpness);
    const Json back = backs.empty() ? Json() : backs[static_cast<size_t>(layer)];
    for (const auto& [family, queries, keys] : families) {
      AttentionSpec spec;
      if (family.causal) spec.topology = back.is_null() ? causal() : causal(back.integer());
      const Tensor q = all.q.slice(2, queries.begin, queries.end), k = all.k.slice(2, keys.begin, keys.end);
      trace.take({family.name, static_cast<int>(layer), 0}, attend(q, k, k, spec).record, norms_of(heads, keys));
    }
  }
  std::vector<GeneratedToken> generated;
  const Json::Array& probabilities = fields.items("generated");
  for (size_t i = 0; i < probabilities.size(); ++i) {
    const size_t token = plan.text.ids.size() - probabilities.size() + i;
    const std::string& piece = plan.text.pieces[token];
    generated.push_back({plan.text.ids[token], piece, piece, static_cast<float>(probabilities[i].number())});
  }
  if (!generated.empty()) trace.set_generated(std::move(generated));
  fields.refuse_rest();
  return trace;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fputs("usage: clearhead-text-trace DESCRIPTION.json OUT.trace\n", stderr);
    return 2;
  }
  try {
    trace_of(Json::parse(read_file(argv[1]), argv[1]), argv[1]).save(argv[2]);
  } catch (const Error& error) {
    std::fprintf(stderr, "clearhead-text-trace: %s\n", error.what());
    return 1;
  }
  return 0;
}
