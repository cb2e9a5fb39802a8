// PyTorch attention calls and their equivalents in clearhead. docs/from-pytorch.md quotes these lines. Each is checked
// against the eager formula.
#include "mechanisms.h"

namespace {

constexpr int64_t kLength = 24, kRow = 17;

// Two sequences, four query heads, two key heads, 16 channels.
const ch::Tensor q = any(1, {2, 4, kLength, 16}), k = any(2, {2, 2, kLength, 16}), v = any(3, {2, 2, kLength, 16});
const ch::Tensor slopes = any(4, {4}), sinks = any(5, {4}), bias = any(6, {1, 4, kLength, kLength});

double scaled(int64_t i, int64_t j) { return dot(q, i, k, j) / 4; }

// Row i of the first head is Σ_j softmax_j(score(j)) v_j over the visible keys j; `sink` is one more logit in the softmax.
bool is(const ch::Tensor& out, int64_t i, const std::function<double(int64_t)>& score, const std::function<bool(int64_t)>& sees,
        double sink = 0) {
  for (int64_t c = 0; c < v.size(3); ++c) {
    double weights = sink, sum = 0;
    for (int64_t j = 0; j < k.size(2); ++j) {
      const double e = sees(j) ? std::exp(score(j)) : 0;
      weights += e, sum += e * at(v, j, c);
    }
    if (!near(at(out, i, c), sum / weights, 1e-5)) return false;
  }
  return true;
}
bool is(
    const ch::Tensor& out, const std::function<double(int64_t)>& score,
    const std::function<bool(int64_t)>& sees = [](int64_t) { return true; }, double sink = 0) {
  return is(out, kRow, score, sees, sink);
}
double plain(int64_t j) { return scaled(kRow, j); }
bool is_before(int64_t j) { return j <= kRow; }

void check(const char* what, bool holds) { show(what, holds, holds ? "as PyTorch's" : ""); }

void scaled_dot_product_attention() {
  ch::Tensor mask = ch::Tensor::zeros({1, 1, kLength, kLength}, ch::DType::kBool);
  for (int64_t i = 0; i < kLength; ++i) {
    for (int64_t j = 0; j < kLength; ++j) mask.mutable_data<bool>()[i * kLength + j] = (i + j) % 3 != 0;
  }
  // [docs/from-pytorch.md]
  // F.scaled_dot_product_attention(q, k, v)                    k and v may have fewer heads, without enable_gqa
  ch::Tensor out = ch::attend(q, k, v).out;
  // F.scaled_dot_product_attention(q, k, v, scale=0.1)
  ch::Tensor scaled_by = ch::attend(q, k, v, {.score = ch::Dot{0.1f}}).out;
  // F.scaled_dot_product_attention(q, k, v, is_causal=True)    aligned at the first key, as in PyTorch
  ch::Tensor causal = ch::attend(q, k, v, {.topology = ch::causal(std::nullopt, ch::Align::kStart)}).out;
  // F.scaled_dot_product_attention(q, k, v, attn_mask=mask)    bool: true is visible
  ch::Tensor masked = ch::attend(q, k, v, {.topology = {.mask = ch::Mask{mask}}}).out;
  // F.scaled_dot_product_attention(q, k, v, attn_mask=bias)    float: added
  ch::Tensor biased = ch::attend(q, k, v, {.terms = {ch::AttentionBias{bias}}}).out;
  // F.scaled_dot_product_attention(q, k, v, dropout_p=0.1)     the dropped weights depend on the seed and their indices
  ch::Tensor dropped = ch::attend(q, k, v, {.after = {.dropout = ch::Dropout{.rate = 0.1f, .seed = 7}}}).out;
  // [/docs/from-pytorch.md]
  check("scaled_dot_product_attention", is(out, plain));
  check("  scale", is(scaled_by, [](int64_t j) { return 4 * plain(j) * 0.1; }));
  check("  is_causal", is(causal, plain, is_before));
  check("  attn_mask of bool", is(masked, plain, [](int64_t j) { return (kRow + j) % 3 != 0; }));
  check("  attn_mask of floats", is(biased, [](int64_t j) { return plain(j) + at(bias, kRow, j); }));
  check("  dropout_p", !is(dropped, plain));
}

void flash_attention() {
  ch::Tensor of_two = ch::Tensor::zeros({1, kLength}, ch::DType::kI32);
  for (int64_t i = 10; i < kLength; ++i) of_two.mutable_data<int32_t>()[i] = 1;
  // flash_attn takes [batch, length, head, d]; any strides are read in place.
  const ch::Tensor rows = q.permute({0, 2, 1, 3}).contiguous();
  // [docs/from-pytorch.md]
  // flash_attn_func(q, k, v, causal=True)                      aligned at the last key; q of [batch, length, head, d] is a view
  ch::Attended last = ch::attend(rows.permute({0, 2, 1, 3}), k, v, {.topology = ch::causal()});
  // flash_attn_func(…, return_attn_probs=True): softmax_lse
  ch::Tensor lse = ch::log_sum_exp(last.record.rows);
  // flash_attn_func(q, k, v, window_size=(5, 2))
  ch::Tensor window = ch::attend(q, k, v, {.topology = ch::window(5, 2)}).out;
  // flash_attn_func(q, k, v, softcap=30.0, softmax_scale=1.0)
  ch::Tensor capped = ch::attend(q, k, v, {.score = ch::Dot{1}, .terms = {ch::SoftCap{30}}}).out;
  // flash_attn_func(q, k, v, alibi_slopes=slopes)
  ch::Tensor alibi = ch::attend(q, k, v, {.terms = {ch::Alibi{slopes}}}).out;
  // flash_attn_varlen_func(…, cu_seqlens): the document of each token, here 10 tokens of the first and 14 of the second
  ch::Tensor packed = ch::attend(q, k, v, {.topology = {.segments = ch::Segments{of_two, of_two}}}).out;
  // flash_attn_with_kvcache(q, k_cache, v_cache, k, v, causal=True)
  ch::KVCache cache;
  cache.append(k, v);
  ch::Tensor step = ch::attend(q.slice(2, kLength - 1, kLength), cache.snapshot(), {.topology = ch::causal()}).out;
  // d_q, d_k, d_v of out.backward(d_out)
  ch::AttendGradients gradients = ch::attend_gradients(last.record, v, last.out, /*d_out=*/last.out);
  // [/docs/from-pytorch.md]
  double sum = 0;
  for (int64_t j = 0; j <= kRow; ++j) sum += std::exp(plain(j));
  check("flash_attn_func, causal", is(last.out, plain, is_before));
  check("  softmax_lse", near(static_cast<double>(lse.data<float>()[kRow]), std::log(sum), 1e-5));
  check("  window_size", is(window, plain, [](int64_t j) { return j >= kRow - 5 && j <= kRow + 2; }));
  check("  softcap", is(capped, [](int64_t j) { return 30 * std::tanh(4 * plain(j) / 30); }));
  check("  alibi_slopes", is(alibi, [](int64_t j) {
          return plain(j) - static_cast<double>(slopes.data<float>()[0]) * std::abs(static_cast<double>(kRow - j));
        }));
  check("flash_attn_varlen_func", is(packed, plain, [](int64_t j) { return j >= 10; }));
  check("flash_attn_with_kvcache", is(
                                       step, 0, [](int64_t j) { return scaled(kLength - 1, j); }, [](int64_t) { return true; }));
  check("  backward", gradients.q.shape() == q.shape() && gradients.k.shape() == k.shape());
}

void flex_attention() {
  const auto documents = ch::Tensor::from<int32_t>({0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}, {kLength});
  ch::BlockSparse blocks{.query_block = 8,
                         .key_block = 8,
                         .offsets = ch::Tensor::from<int32_t>({0, 1, 3, 5}, {1, 1, 4}),
                         .keys = ch::Tensor::from<int32_t>({0, 0, 1, 0, 2}, {1, 1, 5})};
  // [docs/from-pytorch.md]
  // def score_mod(score, b, h, q_idx, kv_idx): return score - 0.1 * (q_idx - kv_idx).abs()
  ch::Rule score_mod = ch::rule([](auto score, auto at) { return score - 0.1f * abs(at.query - at.key); });
  ch::Tensor modified = ch::attend(q, k, v, {.terms = {score_mod}}).out;
  // score_mod that looks a parameter up: score + bias[h]       bias[h] has a gradient, "rule.table"
  ch::Rule looks_up = ch::rule([of = ch::table(slopes)](auto score, auto at) { return score + of(at.head) * at.key; });
  ch::Tensor looked_up = ch::attend(q, k, v, {.terms = {looks_up}}).out;
  // def mask_mod(b, h, q_idx, kv_idx): return (document[q_idx] == document[kv_idx]) & (q_idx >= kv_idx)
  ch::Rule mask_mod = ch::visible([of = ch::table(documents)](auto at) { return of(at.query) == of(at.key) && at.query >= at.key; });
  ch::Tensor seen = ch::attend(q, k, v, {.topology = {.visible = mask_mod}}).out;  // hidden blocks are found by bounds: no BlockMask
  // BlockMask.from_kv_blocks(…): query block b sees the key blocks keys[offsets[b]] … keys[offsets[b + 1] − 1]
  ch::Tensor by_blocks = ch::attend(q, k, v, {.topology = {.block_sparse = blocks}}).out;
  // [/docs/from-pytorch.md]
  check("score_mod", is(modified, [](int64_t j) { return plain(j) - 0.1 * std::abs(static_cast<double>(kRow - j)); }));
  check("  with a table",
        is(looked_up, [](int64_t j) { return plain(j) + static_cast<double>(slopes.data<float>()[0]) * static_cast<double>(j); }));
  check("mask_mod", is(seen, plain, [](int64_t j) { return j >= 10 && is_before(j); }));
  check("BlockMask", is(by_blocks, plain, [](int64_t j) { return j < 8 || j >= 16; }));
}

void hugging_face() {
  const auto real = ch::Tensor::from<int32_t>(std::vector<int32_t>(kLength, 0), {1, kLength});
  ch::Tensor keys = real.clone(), head_mask = ch::Tensor::from<float>({0, 1, 1, 1}, {4});
  std::fill_n(keys.mutable_data<int32_t>() + 20, 4, -1);
  // [docs/from-pytorch.md]
  // attention_mask with zeros at padding: keys of a negative segment are hidden from all queries
  ch::Tensor padded = ch::attend(q, k, v, {.topology = {.segments = ch::Segments{real, keys}}}).out;
  // config.sliding_window = 5
  ch::Tensor sliding = ch::attend(q, k, v, {.topology = ch::causal(/*back=*/5 - 1)}).out;
  // config.attn_logit_softcapping = 50.0
  ch::Tensor capped = ch::attend(q, k, v, {.terms = {ch::SoftCap{50}}}).out;
  // sinks of gpt-oss: one additional logit per head, without a value
  ch::Tensor with_sinks = ch::attend(q, k, v, {.normaliser = ch::Softmax{sinks}}).out;
  // head_mask
  ch::Tensor without_a_head = ch::attend(q, k, v, {.after = {.head_mask = head_mask}}).out;
  // output_attentions=True: a map; its rows, tiles and statistics are computed on demand
  ch::AttentionMap map(ch::attend(q, k, v).record);
  std::vector<float> row = map.head(/*batch=*/0, /*head=*/0).row(kRow).weights();
  // past_key_values: ch::KVCache for one layer, ch::ModelCache for a model
  // [/docs/from-pytorch.md]
  double sum = 0;
  for (int64_t j = 0; j < kLength; ++j) sum += std::exp(plain(j));
  check("attention_mask", is(padded, plain, [](int64_t j) { return j < 20; }));
  check("sliding_window", is(sliding, plain, [](int64_t j) { return j > kRow - 5 && is_before(j); }));
  check("attn_logit_softcapping", is(capped, [](int64_t j) { return 50 * std::tanh(plain(j) / 50); }));
  check("sinks", is(
                     with_sinks, plain, [](int64_t) { return true; }, std::exp(static_cast<double>(sinks.data<float>()[0]))));
  check("head_mask", at(without_a_head, kRow, 0) == 0);
  check("output_attentions", near(static_cast<double>(row[3]), std::exp(plain(3)) / sum));
}

}  // namespace

int main() {
  std::printf("From PyTorch\n");
  scaled_dot_product_attention();
  flash_attention();
  flex_attention();
  hugging_face();
  return verdict();
}
