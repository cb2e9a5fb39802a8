// The cookbook, page 2: topology, that is, which keys a query sees.
//
//   a pair is visible if the band, the segments, the mask, the lists and the visibility rule all show it
//
// Each entry prints the keys of one query: # is a key with weight, . a key without. Blocks in which no query sees a key
// are not computed.
#include "mechanisms.h"

namespace {

// Prints the keys that query i of the first head sees.
std::string sees(const ch::Attended& done, int64_t i) {
  std::string keys;
  for (const double weight : weights(done, i)) keys += weight > 0 ? '#' : '.';
  return keys;
}
std::string sees(const Tokens& x, const ch::Topology& topology, int64_t i) {
  return sees(ch::attend(x.q, x.k, x.v, {.topology = topology}), i);
}

void show_row(const char* mechanism, const std::string& seen, const std::string& expected, const char* remark) {
  show(mechanism, seen == expected, "%-32s  %s", seen.c_str(), remark);
}

// --- bands ------------------------------------------------------------------------------------------------------------------------------------

// Vaswani et al. 2017, §3.2.3. Four queries over twelve keys are the last four tokens, as in a decoding step or a chunk of a prompt.
void causal_end() {
  Tokens x;
  x.q = x.q.slice(2, 0, 4);
  show_row("causal, aligned at the end", sees(x, ch::causal(), 1), "##########..", "query 1 of 4 stands at key 9 of 11");
}

// The same four queries as the first four tokens.
void causal_start() {
  Tokens x;
  x.q = x.q.slice(2, 0, 4);
  show_row("causal, aligned at the start", sees(x, ch::causal(std::nullopt, ch::Align::kStart), 1), "##..........",
           "query 1 stands at key 1");
}

// Mistral 7B (Jiang et al. 2023, §2). Hugging Face's sliding_window = 4 is back = 3.
void sliding_window() {
  show_row("sliding window", sees(Tokens(), ch::causal(/*back=*/3), 8), ".....####...", "query 8 and three keys before it");
}

// Luong, Pham & Manning 2015, §3.2, local-m: D keys on each side. (local-p: mechanisms_weights.cc.)
void local_m() { show_row("local-m", sees(Tokens(), ch::window(2, 2), 6), "....#####...", "query 6, D = 2"); }

// Beltagy et al. 2020, §3.1.
void dilated() {
  show_row("dilated window", sees(Tokens(), {.visible = ch::dilated(/*step=*/3, /*back=*/2)}, 10), "....#..#..#.", "query 10, steps of 3");
}

// --- sequences together -----------------------------------------------------------------------------------------------------------------------

// Three documents packed into one sequence, none of which sees another (Krell et al. 2021). −1 is padding.
void segments() {
  const auto document = ch::Tensor::from<int32_t>({0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, -1}, {1, 12});
  ch::Topology topology = ch::causal();
  topology.segments = ch::Segments{document, document};
  show_row("segments", sees(Tokens(), topology, 7), ".....###....", "query 7 is of the document of keys 5 to 8");
}

// Raffel et al. 2020, §3.2.1: the prefix (the question) is bidirectional, the answer is causal.
void prefix_lm() {
  const Tokens x;
  const ch::Topology topology{.visible = ch::prefix_lm(4)};
  show_row("prefix LM, in the prefix", sees(x, topology, 1), "####........", "query 1 of a prefix of 4");
  show_row("prefix LM, after it", sees(x, topology, 6), "#######.....", "query 6");
}

// Any other pattern: a boolean for every pair.
void mask() {
  std::vector<bool> visible(12 * 12, false);
  for (const size_t key : {1, 4, 9}) visible[6 * 12 + key] = true;
  show_row("mask", sees(Tokens(), {.mask = ch::Mask{ch::Tensor::from(visible, {1, 1, 12, 12})}}, 6), ".#..#....#..", "query 6");
}

// --- sparse patterns --------------------------------------------------------------------------------------------------------------------------

// Child et al. 2019, §5.1: blocks of 4 × 4, written out. Query block 2 sees key blocks 0 and 2.
void block_lists() {
  const ch::BlockSparse lists{.query_block = 4,
                              .key_block = 4,
                              .offsets = ch::Tensor::from<int32_t>({0, 1, 2, 4}, {1, 1, 4}),
                              .keys = ch::Tensor::from<int32_t>({0, 1, 0, 2}, {1, 1, 4})};
  show_row("block lists", sees(Tokens(), {.block_sparse = lists}, 9), "####....####", "query 9, of block 2");
}

// Child et al. 2019, §4.3. Strided: the keys just before, and every fourth key before those. Fixed: the query's own block, and the last key
// of each earlier block.
void strided_and_fixed() {
  const Tokens x{.length = 20};
  show_row("strided", sees(x, {.visible = ch::strided(4)}, 18), "..#...#...#...#####.", "query 18, stride 4");
  show_row("fixed", sees(x, {.visible = ch::fixed(4, /*summary=*/1)}, 18), "...#...#...#...####.", "query 18, blocks of 4");
}

// Beltagy et al. 2020, §3.1: a window, and global tokens that see all and are seen by all.
void longformer() {
  const Tokens x;
  const ch::Topology topology{.visible = ch::longformer(/*side=*/1, ch::Tensor::from<int32_t>({1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, {12}))};
  show_row("Longformer, a global query", sees(x, topology, 0), "############", "query 0");
  show_row("Longformer, any other", sees(x, topology, 7), "#.....###...", "query 7 and the global key");
}

// Zaheer et al. 2020, §2: window, global and random blocks.
void big_bird() {
  const Tokens x{.length = 32};
  const std::string seen = sees(x, {.block_sparse = ch::big_bird(32, {.block = 4, .window = 1, .global = 1, .random = 1, .seed = 3})}, 17);
  const bool window_and_global = seen.substr(0, 4) == "####" && seen.substr(12, 12) == "############";
  show("BigBird", window_and_global && std::count(seen.begin(), seen.end(), '#') == 20, "%-32s  query 17: global, window, one at random",
       seen.c_str());
}

// Veličković et al. 2018, §2.1: the neighbours of a node, as compressed sparse rows. Edges may come in any order.
void graph_edges() {
  const auto edges = ch::Tensor::from<int32_t>({6, 3, 6, 6, /*to*/ 11, 3, 0, 6}, {2, 4});
  show_row("edges of a graph", sees(Tokens(), {.block_sparse = ch::graph(edges, 12).block_sparse}, 6), "#.....#....#",
           "node 6 and its neighbours");
}

// --- chosen by content ------------------------------------------------------------------------------------------------------------------------

// Gupta et al. 2021: only the top few keys of every query. They are selected once; the record keeps the lists.
void top_keys() {
  const Tokens x;
  const ch::Attended all = ch::attend(x.q, x.k, x.v);
  std::string best(12, '.');
  for (const auto& key : ch::AttentionMap(all.record).head(0, 0).row(6).top_k(3)) best[static_cast<size_t>(key.key)] = '#';
  show_row("top keys", sees(x, {.block_sparse = ch::select_top_keys(x.q, x.k, {}, 3)}, 6), best, "query 6: its three largest weights");
}

// Lu et al. 2025, §2.2: blocks of keys, selected by their mean key; here one in addition to the query's own block.
void top_blocks() {
  const Tokens x{.length = 16};
  const auto score_of = [&](int64_t block) {  // from the sums over queries 8 to 11 and over the block's keys
    double s = 0;
    for (int64_t i = 8; i < 12; ++i) {
      for (int64_t j = 4 * block; j < 4 * block + 4; ++j) s += dot(x.q, i, x.k, j);
    }
    return s;
  };
  std::string expected = "........####....";
  const int64_t best = std::max({0, 1, 3}, [&](int64_t a, int64_t b) { return score_of(a) < score_of(b); });
  expected.replace(static_cast<size_t>(4 * best), 4, "####");
  const ch::BlockChoice choice{.query_block = 4, .key_block = 4, .count = 2};
  show_row("top blocks", sees(x, {.block_sparse = ch::select_top_blocks(x.q, x.k, {}, choice)}, 9), expected,
           "query 9: its own block, and the best of the others");
}

// Reformer (Kitaev et al. 2020, §2): pairs with equal hashes. Keys that are twice a query always share its bucket, keys that are its
// negative never do.
void hashed_buckets() {
  Tokens x;
  x.k = x.q.clone();
  for (int64_t j = 0; j < 12; ++j) {
    for (int64_t c = 0; c < 8; ++c) x.k.mutable_data<float>()[j * 8 + c] *= j % 2 == 0 ? 2.0F : -2.0F;
  }
  const ch::Attended done =
      ch::attend(x.q, x.k, x.v, {.topology = {.block_sparse = ch::select_same_bucket(x.q, x.k, {.buckets = 4, .rounds = 1, .seed = 1})}});
  bool meet = true;
  for (int64_t i = 0; i < 12; ++i) meet = meet && (sees(done, i)[static_cast<size_t>(i)] == '#') == (i % 2 == 0);
  show("hashed buckets", meet, "%-32s  query 6: its bucket; a key that is −q is in none of its query's", sees(done, 6).c_str());
}

// User-defined: a lambda that is recorded once as data. Its bounds over blocks tell which blocks have no visible pair and are skipped.
void own_visibility() {
  const auto knight = ch::visible([](auto at) {
    const auto row = floor(at.key / 4), column = at.key - 4 * row, own_row = floor(at.query / 4), own_column = at.query - 4 * own_row;
    const auto down = abs(row - own_row), right = abs(column - own_column);
    return (down == 1 && right == 2) || (down == 2 && right == 1);
  });
  show_row("own rule", sees(Tokens{.length = 16}, {.visible = knight}, 5), "...#.......##.#.",
           "query 5: a knight's moves on a board four wide");
}

}  // namespace

int main() {
  std::puts("Bands");
  for (const auto entry : {causal_end, causal_start, sliding_window, local_m, dilated}) entry();
  std::puts("Sequences together");
  for (const auto entry : {segments, prefix_lm, mask}) entry();
  std::puts("Sparse patterns");
  for (const auto entry : {block_lists, strided_and_fixed, longformer, big_bird, graph_edges}) entry();
  std::puts("Chosen by content");
  for (const auto entry : {top_keys, top_blocks, hashed_buckets, own_visibility}) entry();
  return verdict();
}
