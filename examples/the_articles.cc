// The small examples of introductory articles on attention, with their correct results.
//
// Two common mistakes are shown next to the correct numbers: softmax over a single number, and 1000 instead of 10,000 in
// the sines. docs/zh/the-articles.md explains the output in Chinese; the test recomputes every number in double.
#include <clearhead/clearhead.h>

#include <cmath>
#include <cstdio>
#include <string>
#include <vector>

namespace ch = clearhead;
namespace nn = ch::nn;
namespace {

void print(const std::string& name, const float* numbers, int64_t count) {
  std::printf("  %-24s", name.c_str());
  for (int64_t i = 0; i < count; ++i) std::printf(" %8.4f", static_cast<double>(numbers[i]));
  std::printf("\n");
}
void print_rows(const std::string& name, const ch::Tensor& x) {  // [.., rows, channels]
  for (int64_t i = 0; i < x.size(-2); ++i) print(name + " " + std::to_string(i + 1), x.data<float>() + i * x.stride(-2), x.size(-1));
}
// One head of one sequence: [batch 1, head 1, length, channels].
ch::Tensor tokens(const std::vector<float>& numbers, int64_t length) {
  return ch::Tensor::from<float>(numbers, {1, 1, length, static_cast<int64_t>(numbers.size()) / length});
}
// Attends, prints the weights of every query and the output, and returns the output.
ch::Tensor attended(const ch::Tensor& q, const ch::Tensor& k, const ch::Tensor& v, const ch::AttentionSpec& spec = {}) {
  const ch::Attended done = ch::attend(q, k, v, spec);
  const ch::MapHead head = ch::AttentionMap(done.record).head(0, 0);
  for (int64_t i = 0; i < q.size(2); ++i) print("weights of query " + std::to_string(i + 1), head.row(i).weights().data(), k.size(2));
  print_rows("output", done.out);
  return done.out;
}

float first(const ch::Tensor& x) { return x.data<float>()[0]; }
bool is_near(float x, float expected) { return std::abs(x - expected) < 6e-5F; }

// softmax(q·k/√d)·v. Articles write q = [1, 2, 3], k = [4, 5, 6], v = [7, 8, 9].
bool dot_product() {
  std::printf("1. Q = [1, 2, 3], K = [4, 5, 6], V = [7, 8, 9]\n three tokens of one channel: each query weighs three keys\n");
  const ch::Tensor out = attended(tokens({1, 2, 3}, 3), tokens({4, 5, 6}, 3), tokens({7, 8, 9}, 3));
  std::printf(" mistake: one token of three channels. Q·K = 32 is one number, softmax of one number is 1, the output is V\n");
  const ch::Tensor one = attended(tokens({1, 2, 3}, 1), tokens({4, 5, 6}, 1), tokens({7, 8, 9}, 1));
  const ch::Tensor other = attended(tokens({-100, 0, 2}, 1), tokens({4, 5, 6}, 1), tokens({7, 8, 9}, 1));  // independent of Q
  return is_near(first(out), 8.5752F) && is_near(first(one), 7) && is_near(first(other), 7);
}

// The same scores with and without 1/√d. With more channels, scores grow by √d and softmax approaches the choice of a single key.
bool scaled_dot_product() {
  const ch::Tensor q = tokens({1, 0, 1, 0}, 1), k = tokens({4, 0, 4, 0, 0, 4, 0, 4, 4, 4, 0, 0}, 3), v = tokens({1, 2, 3}, 3);
  std::printf("2. scaled dot product: scores 8, 0, 4 by the scale 1/√4\n");
  const ch::Tensor out = attended(q, k, v);
  std::printf(" without the scale\n");
  const ch::Tensor unscaled = attended(q, k, v, {.score = ch::Dot{1}});
  return is_near(first(out), 1.2505F) && is_near(first(unscaled), 1.0363F);
}

// sin(p·10000^(−2i/d)) in channel 2i, the cosine in 2i + 1. The wavelengths reach from 2π to almost 2π·10000.
bool positions() {
  const nn::Positions right = nn::Positions::sinusoidal(4, 4);
  ch::Tensor wrong = ch::Tensor::empty({4, 4});
  for (int64_t i = 0; i < 16; ++i) {
    const double angle = static_cast<double>(i / 4) * std::pow(1000.0, -2.0 * static_cast<double>(i % 4 / 2) / 4);
    wrong.mutable_data<float>()[i] = static_cast<float>(i % 2 == 0 ? std::sin(angle) : std::cos(angle));
  }
  std::printf("3. positions by sine and cosine, four channels\n");
  print_rows("position", right.weight);
  std::printf(" mistake: 1000 in place of 10,000; the slow waves come again sooner, and a trained model gets other positions\n");
  print_rows("position", wrong);
  return is_near(right.weight.data<float>()[6], 0.0100F) && is_near(wrong.data<float>()[6], 0.0316F);
}

// Gives a matrix [out, in] weights that are easy to recompute: sin(1), sin(2), … row by row.
void fill_with_sines(ch::Tensor values) {
  for (int64_t i = 0; i < values.numel(); ++i) values.mutable_data<float>()[i] = std::sin(static_cast<float>(i + 1));
}
ch::Tensor three_tokens() { return ch::Tensor::from<float>({1, 0, 1, 0, 0, 2, 0, 2, 1, 1, 1, 1}, {3, 4}); }
const ch::Layout kThree{.batch = 1, .length = 3};

nn::Attention two_heads(const ch::Scope& scope) {
  nn::Attention attention(scope, /*width=*/4, /*heads=*/2);
  for (const int64_t first : {0, 4, 8}) fill_with_sines(attention.projection.values().slice(0, first, first + 4));  // q, k and v
  fill_with_sines(attention.output.values());
  return attention;
}

// Two heads of two channels each attend independently; output() mixes their results.
bool multi_head() {
  ch::Parameters parameters;
  const nn::Attention attention = two_heads(ch::Scope(parameters) / "attention");
  ch::Maps maps;
  ch::Compute compute({.observer = &maps});
  const ch::Tensor out = attention(compute, three_tokens(), kThree);
  std::printf("4. multi-head attention of three tokens, width 4, two heads\n");
  for (const int64_t head : {0, 1}) {
    for (int64_t i = 0; i < 3; ++i)
      print("head " + std::to_string(head + 1) + ", query " + std::to_string(i + 1),
            maps.at("enc", 0).head(0, head).row(i).weights().data(), 3);
  }
  print_rows("output", out);
  return is_near(first(out), -0.3397F);
}

// x ← norm(x + attention(x)), x ← norm(x + feed-forward(x)): post-norm, as in the paper.
struct Block {
  ch::Scope scope;
  nn::Attention attention = two_heads(scope / "attention");
  nn::FeedForward mlp{scope / "mlp", 4, 8, {.activation = "relu"}};
  nn::LayerNorm norm1{scope / "norm1", 4}, norm2{scope / "norm2", 4};

  ch::Tensor operator()(ch::Compute& compute, ch::Tensor x, const ch::Layout& layout) const {
    x = norm1(compute, compute.add(x, attention(compute, x, layout)));
    return norm2(compute, compute.add(x, mlp(compute, x)));
  }
};
bool block() {
  ch::Parameters parameters;
  Block block{parameters};
  fill_with_sines(block.mlp.up.values());
  fill_with_sines(block.mlp.down.values());
  ch::Compute compute;
  const ch::Tensor out = block(compute, three_tokens(), kThree);
  std::printf("5. a Transformer block, %d numbers in %zu parameters\n", static_cast<int>(parameters.count()), parameters.named().size());
  print_rows("output", out);
  const float* row = out.data<float>();
  return is_near(row[0], 0.65F) && is_near(row[0] + row[1] + row[2] + row[3], 0);  // a layer norm gives a mean of zero
}

// Self-attention over made-up embeddings with four channels: article, thing, deed, place. q = k = v = x.
bool the_cat() {
  const char* words[] = {"The", "cat", "sat", "on", "the", "mat"};
  const ch::Tensor x = tokens({1, 0, 0, 0, 0, 2, 1, 0, 0, 1, 2, 1, 0, 0, 1, 2, 1, 0, 0, 0, 0, 1, 0, 2}, 6);
  const ch::Tensor placed = ch::Compute().add(x.reshape({6, 4}), nn::Positions::sinusoidal(6, 4).weight).reshape({1, 1, 6, 4});
  const auto map = [](const ch::Tensor& of) { return ch::AttentionMap(ch::attend(of, of, of).record).head(0, 0); };
  const ch::MapHead plain_map = map(x), placed_map = map(placed);
  std::printf("6. The cat sat on the mat\n");
  for (int64_t i = 0; i < 6; ++i) print(words[i], plain_map.row(i).weights().data(), 6);
  std::printf(" both articles weigh alike: nothing says where a word stands. With positions added they differ\n");
  for (const int64_t i : {0, 4}) print(words[i], placed_map.row(i).weights().data(), 6);
  return plain_map.row(0).weights() == plain_map.row(4).weights() && placed_map.row(0).weights() != placed_map.row(4).weights();
}

}  // namespace

int main() {
  bool right = true;
  for (const auto& sample : {dot_product, scaled_dot_product, positions, multi_head, block, the_cat}) right = sample() && right;
  return right ? 0 : 1;
}
