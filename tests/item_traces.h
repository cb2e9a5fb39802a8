// Seven traces whose queries or keys are not tokens, with planted weights: q and k are made so that attention gives exactly these weights.
// `attend` computes them and a Trace keeps them, as with any model.
//
//   hierarchy   a document over sentences, sentences over words (Yang et al. 2016)
//   memory      a question over the lines of a story, three hops (Sukhbaatar et al. 2015)
//   patches     the patches of a picture and a class token over each other
//   frames      words over the frames of a sound
//   scene       the words of a question over the patches of a picture
//   graph       the nodes of a graph over their neighbours (Veličković et al. 2018)
//   plane       people at places of a plane over each other
#pragma once

#include <cmath>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "clearhead/attend.h"
#include "clearhead/trace.h"

namespace clearhead::item_traces {

/// Unnormalised weight of a pair.
using Weight = std::function<double(int64_t query, int64_t key)>;

/// A call whose softmax gives these weights, normalised per row. The keys are unit vectors, so q·k/√d is ln w. Weights of 0 become 1e-9.
inline AttentionRecord record_of(int64_t queries, int64_t keys, const std::vector<Weight>& heads, const AttentionSpec& spec = {}) {
  const int64_t count = static_cast<int64_t>(heads.size());
  Tensor q = Tensor::zeros({1, count, queries, keys}), k = Tensor::zeros({1, count, keys, keys});
  float* to = q.mutable_data<float>();
  for (int64_t h = 0; h < count; ++h) {
    for (int64_t i = 0; i < queries; ++i) {
      for (int64_t j = 0; j < keys; ++j) {
        const double weight = std::max(1e-9, heads[static_cast<size_t>(h)](i, j));
        *to++ = static_cast<float>(std::log(weight) * std::sqrt(static_cast<double>(keys)));
      }
    }
    for (int64_t j = 0; j < keys; ++j) k.mutable_data<float>()[(h * keys + j) * keys + j] = 1;
  }
  return attend(q, k, k, spec).record;
}

inline void add_item(RunText& text, const std::string& name, std::array<int64_t, 2> bytes = {0, 0}) {
  text.ids.push_back(-1);
  text.offsets.push_back(bytes);
  text.special.push_back(0);
  text.pieces.push_back(name);
}

/// Ends a range of items that began at `begin`.
inline void close_items(RunText& text, const std::string& kind, int64_t begin, int64_t rows = 0, Tensor picture = {}) {
  text.items.push_back({kind, begin, static_cast<int64_t>(text.ids.size()), rows, std::move(picture)});
}

/// Splits each line at single spaces; each word becomes one token, which includes the space before it. A line break belongs to the word
/// after it. Returns the byte ranges of the lines.
inline std::vector<std::array<int64_t, 2>> add_lines(RunText& text, const std::vector<std::string>& lines, const std::string& between) {
  std::vector<std::array<int64_t, 2>> out;
  for (const std::string& line : lines) {
    if (!text.text.empty()) text.text += between;
    const int64_t first = static_cast<int64_t>(text.text.size());
    text.text += line;
    for (size_t at = 0; at < line.size();) {
      const size_t end = std::min(line.find(' ', at), line.size());
      const std::string word = line.substr(at, end - at);
      text.ids.push_back(static_cast<int32_t>(std::hash<std::string>{}(word) % 1000));
      text.offsets.push_back({first + static_cast<int64_t>(at), first + static_cast<int64_t>(end)});
      text.special.push_back(0);
      text.pieces.push_back(word);
      at = end + 1;
    }
    out.push_back({first, first + static_cast<int64_t>(line.size())});
  }
  return out;
}

inline MapFamily part(const std::string& name, int layers, int64_t heads, Range queries, Range keys) {
  return {.name = name,
          .layers = layers,
          .heads = heads,
          .key_heads = heads,
          .d_k = keys.size(),
          .queries = queries.size(),
          .keys = keys.size(),
          .is_part = true,
          .first_query = queries.begin,
          .first_key = keys.begin};
}

inline double bell(double distance, double width) { return std::exp(-distance * distance / (2 * width * width)); }

/// Weights of the sentences of a document, and of the words in each sentence.
inline Trace hierarchy() {
  const std::vector<std::string> sentences{
      "We came here for a late dinner on a rainy Tuesday .",         "The room is small and the tables stand close together .",
      "The lamb was absolutely delicious and the bread came warm .", "Our waiter was kind but forgot the wine twice .",
      "I would not order the soup again : it was bland .",           "Still , this is the best kitchen in the street and we loved it !"};
  const std::vector<double> share{0.04, 0.03, 0.38, 0.09, 0.12, 0.34};
  const std::vector<std::pair<std::string, double>> telling{{"delicious", 12}, {"absolutely", 5}, {"best", 12}, {"loved", 9},
                                                            {"bland", 10},     {"not", 4},        {"kind", 6},  {"forgot", 8},
                                                            {"warm", 3},       {"small", 4},      {"rainy", 3}, {"dinner", 3}};
  RunPlan plan;
  plan.model = "hierarchical-attention";
  RunText& text = plan.text;
  const auto bytes = add_lines(text, sentences, " ");
  const int64_t words = static_cast<int64_t>(text.ids.size()), count = static_cast<int64_t>(sentences.size());
  for (int64_t i = 0; i < count; ++i) add_item(text, "sentence " + std::to_string(i + 1), bytes[static_cast<size_t>(i)]);
  close_items(text, "sentence", words);
  add_item(text, "document", {0, static_cast<int64_t>(text.text.size())});
  close_items(text, "document", words + count);
  plan.families = {part("sentences", 1, 1, {words + count, words + count + 1}, {words, words + count}),
                   part("words", 1, 1, {words, words + count}, {0, words})};
  AttentionSpec own;  // each sentence sees only its own words
  std::vector<int32_t> of_queries, of_keys;
  for (int32_t i = 0; i < count; ++i) of_queries.push_back(i);
  for (int64_t j = 0; j < words; ++j) {
    int32_t at = 0;
    while (text.offsets[static_cast<size_t>(j)][0] >= bytes[static_cast<size_t>(at)][1]) ++at;
    of_keys.push_back(at);
  }
  own.topology.segments = Segments{Tensor::from(of_queries, {1, count}), Tensor::from(of_keys, {1, words})};
  const auto of_word = [&](int64_t, int64_t j) {
    for (const auto& [word, weight] : telling) {
      if (text.pieces[static_cast<size_t>(j)] == word) return weight;
    }
    return 1.0;
  };
  Trace trace;
  trace.begin(plan);
  trace.take({"sentences", 0, 0}, record_of(1, count, {[&](int64_t, int64_t j) { return share[static_cast<size_t>(j)]; }}), {});
  trace.take({"words", 0, 0}, record_of(count, words, {of_word}, own), {});
  return trace;
}

/// Two hops find the two facts that the answer needs; the third stays at the second fact.
inline Trace memory() {
  const std::vector<std::string> story{"Mary moved to the bathroom .",  "John went to the hallway .",
                                       "Mary picked up the football .", "Sandra went to the bedroom .",
                                       "Daniel moved to the garden .",  "Mary went to the kitchen .",
                                       "John picked up the apple .",    "Sandra journeyed to the office .",
                                       "Mary dropped the football .",   "Daniel went back to the hallway ."};
  RunPlan plan;
  plan.model = "memory-network";
  RunText& text = plan.text;
  const auto bytes = add_lines(text, story, "\n");
  const auto question = add_lines(text, {"Where is the football ?"}, "\n");
  const int64_t words = static_cast<int64_t>(text.ids.size()), slots = static_cast<int64_t>(story.size());
  for (int64_t i = 0; i < slots; ++i) add_item(text, "line " + std::to_string(i + 1), bytes[static_cast<size_t>(i)]);
  close_items(text, "slot", words);
  add_item(text, "question", question[0]);
  close_items(text, "query", words + slots);
  plan.families = {part("hop", 3, 1, {words + slots, words + slots + 1}, {words, words + slots})};
  const double planted[3][10] = {{.01, .00, .22, .00, .00, .04, .03, .00, .69, .01},
                                 {.04, .00, .06, .01, .01, .79, .00, .02, .06, .01},
                                 {.02, .01, .01, .00, .00, .91, .00, .00, .03, .02}};
  Trace trace;
  trace.begin(plan);
  for (int hop = 0; hop < 3; ++hop)
    trace.take({"hop", hop, 0}, record_of(1, slots, {[&](int64_t, int64_t j) { return planted[hop][j]; }}), {});
  return trace;
}

/// The strokes of a digit, 7 rows of 5 cells.
inline const char* numeral(int digit) {
  static const char* const kStrokes[] = {"01110100011001110101110011000101110", "00100011000010000100001000010001110",
                                         "01110100010000100010001000100011111", "11111000100010000010000011000101110",
                                         "00010001100101010010111110001000010", "11111100001111000001000011000101110",
                                         "00110010001000011110100011000101110", "11111000010001000100010000100001000",
                                         "01110100011000101110100011000101110", "01110100011000101111000010001001100"};
  return kStrokes[digit];
}

/// Draws a digit into a square of a grey picture [side, side, 3], with soft edges.
inline void draw(Tensor& picture, int digit, int64_t left, int64_t top, int64_t size) {
  uint8_t* to = picture.mutable_data<uint8_t>();
  const int64_t width = picture.size(1);
  const double cell = static_cast<double>(size) / 9;
  for (int64_t y = 0; y < size; ++y) {
    for (int64_t x = 0; x < size; ++x) {
      const double column = (static_cast<double>(x) + 0.5) / cell - 2, row = (static_cast<double>(y) + 0.5) / cell - 1;
      double most = 0;
      for (int i = 0; i < 35; ++i) {
        if (numeral(digit)[i] == '1')
          most = std::max(most, bell(std::hypot(column - i % 5 - 0.5, row - static_cast<double>(i / 5) - 0.5), 0.55));
      }
      const uint8_t grey = static_cast<uint8_t>(std::min(255.0, 22 + 280 * most));
      for (int64_t c = 0; c < 3; ++c) to[((top + y) * width + left + x) * 3 + c] = grey;
    }
  }
}

inline double brightness(const Tensor& picture, int64_t side, int64_t patch) {
  const int64_t pixels = picture.size(0) / side;
  double sum = 0;
  for (int64_t y = 0; y < pixels; ++y) {
    for (int64_t x = 0; x < pixels; ++x)
      sum += picture.data<uint8_t>()[(((patch / side) * pixels + y) * picture.size(1) + (patch % side) * pixels + x) * 3];
  }
  return sum / static_cast<double>(pixels * pixels) / 255;
}

inline void add_patches(RunText& text, int64_t side, const Tensor& picture) {
  const int64_t begin = static_cast<int64_t>(text.ids.size());
  for (int64_t i = 0; i < side * side; ++i) add_item(text, "patch " + std::to_string(i / side + 1) + "," + std::to_string(i % side + 1));
  close_items(text, "patch", begin, side, picture);
}

/// No text: a class token and 8 × 8 patches. Head 0 of layer 0 attends to nearby patches and head 1 to bright ones; layer 1 swaps them.
inline Trace patches() {
  constexpr int64_t kSide = 8;
  Tensor picture = Tensor::zeros({64, 64, 3}, DType::kU8);
  draw(picture, 3, 0, 0, 64);
  RunPlan plan;
  plan.model = "patches";
  add_item(plan.text, "class");
  close_items(plan.text, "query", 0);
  add_patches(plan.text, kSide, picture);
  plan.families = {part("patches", 2, 2, {0, 65}, {0, 65})};
  const auto bright = [&](int64_t, int64_t j) { return j == 0 ? 0.1 : 0.02 + std::pow(brightness(picture, kSide, j - 1), 2) * 3; };
  const auto near = [&](int64_t i, int64_t j) {
    if (i == 0 || j == 0) return 0.3;
    const int64_t a = i - 1, b = j - 1;
    return bell(std::hypot(a / kSide - b / kSide, a % kSide - b % kSide), 1.1);
  };
  Trace trace;
  trace.begin(plan);
  trace.take({"patches", 0, 0}, record_of(65, 65, {near, bright}), {});
  trace.take({"patches", 1, 0}, record_of(65, 65, {bright, near}), {});
  return trace;
}

/// Six words over forty frames of 10 ms, in order; and the frames over each other.
inline Trace frames() {
  constexpr int64_t kFrames = 40, kHeight = 40, kWidth = 160;
  const double place[] = {4, 9, 15, 22, 29, 35};
  Tensor picture = Tensor::zeros({kHeight, kWidth, 3}, DType::kU8);
  for (int64_t y = 0; y < kHeight; ++y) {
    for (int64_t x = 0; x < kWidth; ++x) {
      const double time = static_cast<double>(x) / kWidth * kFrames, pitch = 1 - static_cast<double>(y) / kHeight;
      double power = 0.05 + 0.04 * std::sin(static_cast<double>(x * 7 + y * 13));
      for (int w = 0; w < 6; ++w) {
        for (int harmonic = 1; harmonic <= 4; ++harmonic)
          power += bell(time - place[w], 2.1) * bell(pitch - 0.19 * harmonic - 0.02 * std::sin(time + w), 0.035) / harmonic;
      }
      power = std::min(1.0, power);
      uint8_t* to = picture.mutable_data<uint8_t>() + (y * kWidth + x) * 3;
      to[0] = static_cast<uint8_t>(255 * std::min(1.0, power * 1.4));
      to[1] = static_cast<uint8_t>(255 * power * power);
      to[2] = static_cast<uint8_t>(60 + 100 * (1 - power) * std::min(1.0, 3 * power));
    }
  }
  RunPlan plan;
  plan.model = "listen-attend-spell";
  add_lines(plan.text, {"three seven one nine four two"}, "");
  const int64_t words = static_cast<int64_t>(plan.text.ids.size());
  for (int64_t i = 0; i < kFrames; ++i) add_item(plan.text, "0." + std::to_string(100 + i).substr(1) + " s");
  close_items(plan.text, "frame", words, 0, picture);
  plan.families = {part("cross", 1, 2, {0, words}, {words, words + kFrames}),
                   part("frames", 1, 1, {words, words + kFrames}, {words, words + kFrames})};
  Trace trace;
  trace.begin(plan);
  trace.take({"cross", 0, 0},
             record_of(words, kFrames,
                       {[&](int64_t i, int64_t j) { return 0.004 + bell(static_cast<double>(j) - place[i], 1.6); },
                        [&](int64_t i, int64_t j) { return 0.02 + bell(static_cast<double>(j) - place[i] + 2, 4); }}),
             {});
  trace.take({"frames", 0, 0}, record_of(kFrames, kFrames, {[](int64_t i, int64_t j) { return bell(static_cast<double>(i - j), 2); }}), {});
  return trace;
}

/// A question about nine digits in a picture of 9 × 9 patches: each word attends to what it refers to.
inline Trace scene() {
  constexpr int64_t kSide = 9;
  Tensor picture = Tensor::zeros({72, 72, 3}, DType::kU8);
  const int digits[] = {4, 1, 9, 7, 3, 0, 2, 8, 5};
  for (int64_t i = 0; i < 9; ++i) draw(picture, digits[i], i % 3 * 24, i / 3 * 24, 24);
  RunPlan plan;
  plan.model = "scenes";
  add_lines(plan.text, {"Which digit stands to the right of the 7 ?"}, "");
  const int64_t words = static_cast<int64_t>(plan.text.ids.size());
  add_patches(plan.text, kSide, picture);
  const int64_t all = static_cast<int64_t>(plan.text.ids.size());
  plan.families = {part("cross", 2, 2, {0, words}, {words, all})};
  const auto at = [&](int64_t j, double column, double row) {
    return bell(std::hypot(static_cast<double>(j % kSide) - column, static_cast<double>(j / kSide) - row), 1.0);
  };
  const auto looks = [&](int64_t i, int64_t j) {
    const double lit = 0.1 + brightness(picture, kSide, j);
    if (i >= 7) return 0.002 + lit * at(j, 1, 4);            // the 7
    if (i == 5 || i == 1) return 0.002 + lit * at(j, 4, 4);  // the digit to its right
    return 0.05 + lit * 0.4;
  };
  const auto even = [&](int64_t, int64_t j) { return 0.1 + brightness(picture, kSide, j); };
  Trace trace;
  trace.begin(plan);
  trace.take({"cross", 0, 0}, record_of(words, all - words, {even, looks}), {});
  trace.take({"cross", 1, 0}, record_of(words, all - words, {looks, even}), {});
  return trace;
}

/// A ring of 40 nodes and a hub, node 0, that every fourth node is joined to. A node attends to itself and its neighbours.
inline Trace graph_of_nodes() {
  constexpr int32_t kNodes = 40;
  std::vector<std::array<int32_t, 2>> pairs;  // query, key
  for (int32_t i = 0; i < kNodes; ++i) {
    for (const int32_t j : {i, (i + 1) % kNodes, (i + kNodes - 1) % kNodes}) pairs.push_back({i, j});
    if (i % 4 == 0 && i > 1) pairs.insert(pairs.end(), {{0, i}, {i, 0}});
  }
  std::sort(pairs.begin(), pairs.end());
  std::vector<int32_t> edges;
  for (const int side : {0, 1}) {
    for (const auto& pair : pairs) edges.push_back(pair[static_cast<size_t>(side)]);
  }
  RunPlan plan;
  plan.model = "graph-attention";
  for (int32_t i = 0; i < kNodes; ++i) add_item(plan.text, "n" + std::to_string(i) + (i % 2 == 0 ? " (even)" : " (odd)"));
  close_items(plan.text, "node", 0);
  plan.families = {part("nodes", 1, 2, {0, kNodes}, {0, kNodes})};
  AttentionSpec spec;
  spec.topology.block_sparse = graph(Tensor::from(edges, {2, static_cast<int64_t>(pairs.size())}), kNodes).block_sparse;
  const auto even = [](int64_t, int64_t) { return 1.0; };
  const auto later = [](int64_t, int64_t j) { return 1.0 + static_cast<double>(j); };
  Trace trace;
  trace.begin(plan);
  trace.take({"nodes", 0, 0}, record_of(kNodes, kNodes, {later, even}, spec), {});
  return trace;
}

/// Five people on a plane of 200 × 100 pixels, each with a box of 16 × 16 around its place. Person 1 looks mostly at person 4.
inline Trace plane() {
  constexpr int64_t kPeople = 5;
  RunPlan plan;
  plan.model = "social_attention";
  for (int64_t i = 0; i < kPeople; ++i) add_item(plan.text, "person " + std::to_string(i + 1));
  Tensor picture = Tensor::zeros({100, 200, 3}, DType::kU8);
  std::fill_n(picture.mutable_data<uint8_t>(), picture.numel(), uint8_t{255});
  close_items(plan.text, "person", 0, 0, std::move(picture));
  std::vector<float> boxes;
  for (int64_t i = 0; i < kPeople; ++i) {
    for (const int64_t side : {12 + 40 * i, 10 + 60 * (i % 2), int64_t{16}, int64_t{16}}) boxes.push_back(static_cast<float>(side));
  }
  plan.text.items.back().boxes = Tensor::from(boxes, {kPeople, 4});
  plan.families = {part("people", 1, 1, {0, kPeople}, {0, kPeople})};
  Trace trace;
  trace.begin(plan);
  trace.take({"people", 0, 0}, record_of(kPeople, kPeople, {[](int64_t i, int64_t j) { return j == (i + 3) % kPeople ? 6.0 : 1.0; }}), {});
  return trace;
}

/// All traces by name.
inline const std::vector<std::pair<std::string, Trace (*)()>>& all() {
  static const std::vector<std::pair<std::string, Trace (*)()>> kAll{
      {"hierarchy", hierarchy}, {"memory", memory},        {"patches", patches}, {"frames", frames},
      {"scene", scene},         {"graph", graph_of_nodes}, {"plane", plane}};
  return kAll;
}

}  // namespace clearhead::item_traces
