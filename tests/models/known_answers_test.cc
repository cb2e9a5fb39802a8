// The models with known answers: byte codes, positions, text, and options.
#include "models/known_answers.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <set>

#include "base/file.h"
#include "clearhead/error.h"
#include "io/safetensors.h"
#include "models/architecture.h"
#include "refused.h"
#include "tolerance.h"

namespace clearhead {
namespace {

TEST(KnownByteCodes, AnyTwoBytesAreFarApart) {
  const std::vector<float> codes = known_byte_codes(7);
  ASSERT_EQ(codes.size(), 256U * 16U);
  for (size_t a = 0; a < 256; ++a) {
    for (size_t b = 0; b < 256; ++b) {
      float dot = 0;
      for (size_t c = 0; c < 16; ++c) dot += codes[a * 16 + c] * codes[b * 16 + c];
      if (a == b) {
        EXPECT_EQ(dot, 1.0F);
      } else {
        EXPECT_LE(dot, 0.25F) << a << " and " << b;
      }
    }
  }
}

TEST(KnownByteCodes, DependOnTheSeedAndOnNothingElse) {
  EXPECT_EQ(known_byte_codes(1), known_byte_codes(1));
  EXPECT_NE(known_byte_codes(1), known_byte_codes(2));
}

TEST(KnownPositions, TheKernelIsWellBelowOneAtEveryDistanceUpTo131072) {
  double largest = 0, rest = 0;
  for (int apart = 1; apart <= 131'072; ++apart) {
    const double kernel = known_position_kernel(apart);
    largest = std::max(largest, kernel);
    rest += 2 * std::exp(40 * (kernel - 1));  // weight that a row with sharpness 40 loses to all other positions, on both sides
  }
  EXPECT_DOUBLE_EQ(known_position_kernel(0), 1.0);
  EXPECT_LT(largest, 0.75);
  EXPECT_LT(rest, tolerance::kLaw);
}

TEST(KnownText, IsAsLongAsAskedAndEqualForEqualSeeds) {
  for (const int64_t bytes : {600, 1000, 4321, 100'000}) {
    const KnownText known = make_known_text(bytes, 3);
    EXPECT_EQ(static_cast<int64_t>(known.text.size()), bytes);
    EXPECT_EQ(known.text, make_known_text(bytes, 3).text);
    EXPECT_NE(known.text, make_known_text(bytes, 4).text);
  }
  expect_refused(ErrorCode::kInvalidArgument, "expected at least 600 bytes, found 599", [&] { make_known_text(599, 1); });
}

TEST(KnownText, ReportsTheRangesOfThePassagesAndTheAnswer) {
  const KnownText known = make_known_text(5000, 11);
  const auto piece = [&](Range range) { return known.text.substr(static_cast<size_t>(range.begin), static_cast<size_t>(range.size())); };
  EXPECT_EQ(piece(known.first_passage), piece(known.second_passage));
  EXPECT_EQ(known.first_passage.size(), 320);
  EXPECT_EQ(piece(known.answer), known.answer_text);
  EXPECT_EQ(piece(known.needle), piece(known.question) + known.answer_text);
  EXPECT_EQ(known.question.end, 5000);
}

TEST(KnownText, EveryTwoBytesOfTheAnswerStandInOnePlaceOnly) {
  const KnownText known = make_known_text(100'000, 5);
  EXPECT_EQ(std::set<char>(known.answer_text.begin(), known.answer_text.end()).size(), 9U);
  std::map<std::string, int> pairs;
  for (size_t at = 0; at + 1 < known.text.size(); ++at) ++pairs[known.text.substr(at, 2)];
  for (int64_t at = known.answer.begin - 1; at + 1 < known.answer.end; ++at) {
    EXPECT_EQ(pairs[known.text.substr(static_cast<size_t>(at), 2)], 1) << "at byte " << at;
  }
}

std::string fresh_directory(const char* name) {
  const auto directory = std::filesystem::temp_directory_path() / ("clearhead-" + std::string(name));
  std::filesystem::remove_all(directory);
  return directory.string();
}

TEST(KnownModels, AreReadByTheirFamily) {
  const std::string directory = fresh_directory("known-read");
  write_known_model(directory, KnownCausal{});
  const std::string path = directory + "/config.json";
  const Architecture facts = read_architecture(Json::parse(read_file(path), path), path);
  EXPECT_EQ(facts.model_type, "clearhead-attention");
  EXPECT_EQ(facts.layers, 2);
  EXPECT_EQ(facts.heads, 2);
  EXPECT_EQ(facts.head_dim, 32);
  EXPECT_TRUE(facts.attention_of(1).causal);
  const auto& phases = std::get<PhasePositions>(facts.positions);
  EXPECT_EQ(phases.frequencies, known_frequencies());
  const io::SafeTensors tensors = io::SafeTensors::open_model(directory);
  EXPECT_EQ(tensors.get(phases.weight).shape(), (clearhead::Shape{32, facts.width}));
}

TEST(KnownModels, RefuseValuesOutsideTheirRanges) {
  const auto message = [](const auto& options) -> std::string {
    try {
      write_known_model("never-made", options);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_EQ(message(KnownCausal{.context = 5}), "context: expected 1 to 4 bytes, found 5");
  EXPECT_EQ(message(KnownCausal{.sharpness = 5}), "sharpness: expected 20 to 200 nats, found 5");
  EXPECT_EQ(message(KnownBidirectional{.sharpness = std::nan("")}), "sharpness: expected 20 to 200 nats, found nan");
  EXPECT_FALSE(std::filesystem::exists("never-made"));
}

}  // namespace
}  // namespace clearhead
