// Functions of answers.h and residual_stream.h on models that do not support them, and runs of an Encoding.
#include "clearhead/answers.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>

#include "clearhead/residual_stream.h"
#include "clearhead/trace.h"
#include "refused.h"

namespace clearhead {
namespace {

std::shared_ptr<const Model> shipped(const std::string& name) { return load(std::string(CLEARHEAD_SOURCE_DIR) + "/models/" + name); }

TEST(Answers, AnImageModelRefusesEachTextTaskWithItsOwnMessage) {
  const auto model = shipped("digits");
  const auto refuses = [](const char* what, const auto& call) { expect_refused(ErrorCode::kUnsupported, what, call); };
  refuses("has no sentence embeddings", [&] { (void)embed(*model, "a"); });
  refuses("has no sentence embeddings", [&] { (void)embed_all(*model, {"a"}); });
  refuses("cannot fill masks", [&] { (void)fill_mask(*model, "a"); });
  refuses("cannot fill masks", [&] { (void)fill_all(*model, {"a"}); });
  refuses("cannot classify texts", [&] { (void)classify(*model, "a"); });
  refuses("cannot classify texts", [&] { (void)classify_all(*model, {"a"}); });
  refuses("cannot classify tokens", [&] { (void)tag(*model, "a"); });
  refuses("cannot answer questions about a text", [&] { (void)answer(*model, "a", "b"); });
  refuses("not text", [&] { (void)model->tokenizer(); });
}

TEST(ResidualStream, IsRefusedForAnImageModel) {
  const auto model = shipped("digits");
  const auto refuses = [](const char* what, const auto& call) { expect_refused(ErrorCode::kUnsupported, what, call); };
  refuses("has no language modelling head", [&] { (void)logit_lens(*model, Tensor::zeros({1, 8})); });
  refuses("has no residual stream", [&] { (void)head_contributions(*model, "enc", 0, Tensor::zeros({1, 8})); });
  refuses("has no Transformer layers", [&] { (void)split_score(*model, {}, {}); });
  refuses("has no Transformer layers", [&] { (void)mixed_norms(*model, {}, 0, 0); });
}

TEST(ModelRuns, AnEncodingGivesTheObserverItsTextAndTheSameBits) {
  const auto model = shipped("en-fr");
  const Encoding source = model->tokenizer().encode("The red car is here.");
  const Encoding target{.ids = {model->info().first_token}, .type_ids = {0}, .offsets = {{0, 0}}, .segment = {Encoding::kSpecial}};
  Trace of_encoding, of_ids;
  const RunResult a = model->run_from(source, target, {.observer = &of_encoding, .source = "The red car is here."});
  const auto batch = [](const std::vector<int32_t>& ids) {
    return Batch{.batch = 1, .length = static_cast<int64_t>(ids.size()), .ids = ids};
  };
  const RunResult b = model->run_from(batch(source.ids), batch(target.ids), {.observer = &of_ids});
  EXPECT_EQ(of_encoding.plan().text.offsets[1], source.offsets[1]);
  EXPECT_EQ(of_encoding.plan().text.text.find("The red car is here."), 0U);
  EXPECT_EQ(of_ids.plan().text.offsets[1], (std::array<int64_t, 2>{0, 0}));
  ASSERT_EQ(a.causal_logits.bytes(), b.causal_logits.bytes());
  EXPECT_EQ(std::memcmp(a.causal_logits.raw(), b.causal_logits.raw(), a.causal_logits.bytes()), 0);
}

}  // namespace
}  // namespace clearhead
