// Models that multiply in bf16: their answers, their recorded maps, and their distance from f32.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "clearhead/generate.h"
#include "clearhead/tokenizer.h"
#include "clearhead/trace.h"
#include "io/safetensors.h"
#include "largest.h"
#include "models/golden.h"
#include "models/known_answers.h"
#include "refused.h"
#include "tolerance.h"

namespace clearhead {
namespace {

std::shared_ptr<const Model> known_model(const LoadOptions& options) {
  const auto directory = std::filesystem::temp_directory_path() / "clearhead-precision";
  write_known_model(directory.string(), KnownCausal{});
  return load(directory.string(), options);
}

double largest(const Tensor& tensor) { return largest_magnitude(tensor.data<float>(), tensor.numel()); }

TEST(ModelPrecision, Bf16HiddenStatesStayNearF32InEveryFamily) {
  for (const auto& [family, variant] : {std::pair("gpt2", "plain"), std::pair("llama", "gqa"), std::pair("bert", "mlm")}) {
    const std::vector<int32_t> ids = {3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3, 2, 3, 8};
    const auto hidden = [&](const LoadOptions& options) {
      const auto model = load(golden_directory(family, variant), options);
      EXPECT_EQ(model->info().precision, options.precision);
      return model->run(ids).hidden.contiguous();
    };
    const Tensor exact = hidden({.tokenizer = false}), weights = hidden({.tokenizer = false, .weights = WeightStorage::kBF16});
    const Tensor rounded = hidden({.tokenizer = false, .precision = DType::kBF16});
    EXPECT_LT(difference(rounded, exact), tolerance::kNarrowWeights * largest(exact)) << family;
    EXPECT_GT(difference(rounded, weights), 1e-4 * largest(exact)) << family << ": only its weights were rounded";
    const Tensor of_bytes = hidden({.tokenizer = false, .weights = WeightStorage::kInt8, .precision = DType::kBF16});
    EXPECT_LT(difference(of_bytes, exact), 0.1 * largest(exact)) << family;
    EXPECT_GT(difference(of_bytes, rounded), 0) << family;
  }
  expect_refused(ErrorCode::kUnsupported, "precision is f16; expected f32 or bf16",
                 [&] { (void)load(golden_directory("gpt2", "plain"), {.tokenizer = false, .precision = DType::kF16}); });
}

TEST(ModelPrecision, Bf16GenerationIsTracedAsOneRunOverTheWholeText) {
  const auto model = known_model({.precision = DType::kBF16});
  const KnownText known = make_known_text(3000, 8);
  Trace trace({.statistics_in_run = true});
  GenerateOptions options{.max_tokens = 32, .stop_texts = {">"}};
  options.run.observer = &trace;
  const Encoding prompt = model->tokenizer().encode(known.text);
  const Generated made = generate(*model, prompt, options);
  EXPECT_EQ(made.text + ">", known.answer_text);
  const auto path = std::filesystem::temp_directory_path() / "clearhead-precision.trace";
  trace.save(path.string());
  const io::SafeTensors file = io::SafeTensors::open(path.string());
  EXPECT_EQ(file.get("dec.1.k").dtype(), DType::kBF16);
  EXPECT_EQ(file.get("dec.1.frame0.q").dtype(), DType::kBF16);

  // Rows of the prompt and of the steps: both traces against each other, and against a run over the whole text.
  std::vector<int32_t> ids = prompt.ids;
  ids.insert(ids.end(), made.ids.begin(), made.ids.end() - 1);
  Trace at_once;
  (void)model->run(ids, {.observer = &at_once});
  const Trace loaded = Trace::load(path.string());
  for (int layer = 0; layer < 2; ++layer) {
    for (const int64_t row : {int64_t{0}, int64_t{700}, known.question.end - 1, static_cast<int64_t>(ids.size()) - 1}) {
      for (int64_t head = 0; head < 2; ++head) {
        const std::vector<float> found = trace.map(layer).row(head, row).weights(), kept = loaded.map(layer).row(head, row).weights(),
                                 whole = at_once.map(layer).row(head, row).weights();
        ASSERT_EQ(found.size(), ids.size());
        for (size_t key = 0; key < found.size(); ++key) {
          ASSERT_NEAR(found[key], kept[key], tolerance::kAskedAgain) << layer << "." << head << " row " << row << " key " << key;
          ASSERT_NEAR(found[key], whole[key], tolerance::kAskedAgain) << layer << "." << head << " row " << row << " key " << key;
        }
      }
    }
  }
  EXPECT_EQ(trace.statistics("dec", 1).queries.size(), ids.size()) << "including the steps' rows, although the run swept the prompt";
  EXPECT_NEAR(trace.statistics("dec", 1).received.data<float>()[known.answer.begin],
              at_once.statistics("dec", 1).received.data<float>()[known.answer.begin], 10 * tolerance::kAskedAgain);
  const std::vector<Weighted> keys = trace.map(1).row(0, known.question.end - 1).top_k(1);
  ASSERT_EQ(keys.size(), 1U);
  EXPECT_EQ(keys[0].key, known.answer.begin);
}

TEST(ModelPrecision, Bf16TextProbabilitiesStayNearF32) {
  const std::string text = make_known_text(20000, 3).text;
  const auto model = known_model({}), narrow = known_model({.precision = DType::kBF16});
  const std::vector<int32_t> ids = model->tokenizer().encode(text).ids;
  const std::vector<float> exact = log_probabilities(*model, ids), found = log_probabilities(*narrow, ids);
  double mean = 0, off = 0, sum = 0;
  for (size_t at = 0; at < exact.size(); ++at) {
    off += std::abs(static_cast<double>(found[at] - exact[at]));
    sum += static_cast<double>(found[at] - exact[at]);
    mean -= static_cast<double>(exact[at]);
  }
  EXPECT_GT(off, 0);
  EXPECT_LT(off, 0.02 * mean);
  EXPECT_LT(std::abs(sum), 0.01 * mean);
}

}  // namespace
}  // namespace clearhead
