// Tracks of people: tables, windows and frames of reference; and the network that predicts the next positions.
#include "models/tracks.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "base/format.h"
#include "base/json.h"
#include "clearhead/compute.h"
#include "clearhead/map.h"
#include "models/encoded_input.h"
#include "models/input_kind.h"
#include "random_tensor.h"
#include "refused.h"

namespace clearhead {
namespace {

using Floats = std::vector<float>;

constexpr TracksFacts kFacts{.observed = 4, .predicted = 2, .frames_per_step = 10, .seconds_per_step = 0.5};

// Person 1 walks along x, person 2 stands and leaves after frame 40, person 3 arrives late.
const std::string kRows =
    "0\t1\t0\t5\n0\t2\t9\t9\n10\t1\t1\t5\n10\t2\t9\t9\n20\t1\t2\t5\n20\t2\t9\t9\n30\t1\t3\t5\n30\t2\t9\t9\n30\t3\t7\t7\n"
    "40\t1\t4\t5\n40\t2\t9\t9\n40\t3\t7\t8\n50\t1\t5\t6\n";

TrackTable table() { return read_tracks(kRows, "street.tsv"); }

Floats values(const Tensor& x) { return {x.data<float>(), x.data<float>() + x.numel()}; }

TEST(Tracks, AWindowHasThePeopleWhoArePresentAtEachOfItsSteps) {
  EXPECT_EQ(values(*track_window(kFacts, table(), 30)), (Floats{1, 0, 5, 1, 5, 2, 5, 3, 5, 2, 9, 9, 9, 9, 9, 9, 9, 9}));
  EXPECT_EQ(values(*track_window(kFacts, table(), 50)), (Floats{1, 2, 5, 3, 5, 4, 5, 5, 6}));
  EXPECT_FALSE(track_window(kFacts, table(), 20).has_value());
  EXPECT_FALSE(track_window(kFacts, table(), 35).has_value());
}

TEST(Tracks, TheTrackAfterAWindowIsCompleteOrAbsent) {
  EXPECT_EQ(track_after(kFacts, table(), 30, 1), (Floats{4, 5, 5, 6}));  // all x, then all y
  EXPECT_FALSE(track_after(kFacts, table(), 30, 2).has_value());
}

TEST(Tracks, TheInputOfAModelIsTheWindowThatEndsWithTheLastFrame) {
  EXPECT_EQ(values(read_track_window(kFacts, "frame\tpedestrian\tx\ty\n" + kRows, "street.tsv")), (Floats{1, 2, 5, 3, 5, 4, 5, 5, 6}));
  expect_refused(ErrorCode::kInvalidArgument,
                 "street.tsv: nobody is present at each of the 4 steps of 10 frames that end with the table's last frame, 60",
                 [] { read_track_window(kFacts, kRows + "60\t4\t0\t0\n", "street.tsv"); });
}

TEST(Tracks, RowsThatAreNotTracksAreRefusedByLineAndColumn) {
  const auto refused = [](const std::string& rows, const std::string& says) {
    expect_refused(ErrorCode::kFormat, says, [&] { read_tracks(rows, "street.tsv"); });
  };
  refused("0\t1\t2\n", "street.tsv, line 1: expected 4 columns separated by tabs (frame, pedestrian, x, y), found 3");
  refused("0\t1\t2\t3\n1.5\t1\t2\t3\n",
          "street.tsv, line 2, column 1 (frame): expected a whole number from −16777216 to 16777216, found \"1.5\"");
  refused("0\tme\t2\t3\n", "street.tsv, line 1, column 2 (pedestrian): expected a whole number");
  refused("0\t1\tinf\t3\n", "street.tsv, line 1, column 3 (x): expected a position in metres, found \"inf\"");
  refused("0\t1\t2\t\n", "street.tsv, line 1, column 4 (y): expected a position in metres, found \"\"");
  refused("0\t1\t2\t3\n0\t1\t2\t3\n", "street.tsv, line 2, column 2 (pedestrian): pedestrian 1 is already in frame 0");
  refused("", "street.tsv: the table has no rows; expected frame, pedestrian, x and y");
}

TEST(Tracks, NumbersThatAreNotAWindowAreRefused) {
  expect_refused(ErrorCode::kInvalidArgument, "this model reads tracks, but the input has none", [] { encode_tracks(kFacts, {}); });
  expect_refused(ErrorCode::kShape, "found 8 numbers; expected 9 for each person: the person's number, then x and y of 4 steps",
                 [] { encode_tracks(kFacts, Tensor::zeros({8})); });
  expect_refused(ErrorCode::kShape, "the window has 1025 people; expected at most 1024",
                 [] { encode_tracks(kFacts, Tensor::zeros({9 * 1025})); });
  expect_refused(ErrorCode::kInvalidArgument, "number 2 is nan; expected a finite number", [] {
    encode_tracks(kFacts, Tensor::from(Floats{1, NAN, 0, 0, 0, 0, 0, 0, 0}, {9}));
  });
}

TEST(Tracks, ThePictureShowsTheTracksAndEachPersonHasABoxAtItsLastPosition) {
  const Tensor window = *track_window(kFacts, table(), 30);
  const DrawnTracks drawn = draw_tracks(kFacts, window);
  const Tensor positions = encode_tracks(kFacts, window);
  const int64_t people = positions.size(0), numbers = positions.size(1), height = drawn.picture.size(0), width = drawn.picture.size(1);
  ASSERT_EQ(drawn.boxes.shape(), (Shape{people, 4}));
  EXPECT_LE(std::max(height, width), 482);
  std::vector<std::array<double, 2>> at;
  for (int64_t person = 0; person < people; ++person) {
    const float* box = drawn.boxes.data<float>() + 4 * person;
    const std::array<int64_t, 2> centre = {std::lround(box[0] + box[2] / 2), std::lround(box[1] + box[3] / 2)};
    ASSERT_TRUE(centre[0] >= 0 && centre[0] < width && centre[1] >= 0 && centre[1] < height);
    EXPECT_LT(drawn.picture.data<uint8_t>()[(centre[1] * width + centre[0]) * 3], 200);  // a track ends there
    at.push_back({static_cast<double>(centre[0]), static_cast<double>(centre[1])});
  }
  // Distances in pixels are proportional to those in metres, and y points up.
  const float* first = positions.data<float>() + numbers - 2;
  const float* second = first + numbers;
  const double dx = static_cast<double>(second[0] - first[0]), dy = static_cast<double>(second[1] - first[1]);
  EXPECT_NEAR((at[1][0] - at[0][0]) * dy, -(at[1][1] - at[0][1]) * dx, std::hypot(dx, dy));
}

// A network with random weights in its output, which are zeros before training.
class SocialAttention : public testing::Test {
 protected:
  SocialAttention() : network_(network(R"({"observed_steps": 4, "predicted_steps": 2})", 4, parameters_)) {}

  static std::unique_ptr<Network> network(const std::string& tracks, int64_t labels, Parameters& parameters) {
    std::string names;
    for (int64_t at = 0; at < labels; ++at) names += format("{}\"{}\": \"label {}\"", at > 0 ? ", " : "", at, at);
    return network_of(Json::parse(format(R"({{"model_type": "social_attention", "tracks": {}, "hidden_size": 8, "num_hidden_layers": 1,
                                            "num_attention_heads": 2, "intermediate_size": 16, "id2label": {{{}}}}})",
                                         tracks, names),
                                  "config"),
                      "config.json", parameters);
  }
  void randomise() {
    for (const Parameters::Named& one : parameters_.named()) {
      const Tensor random = random_tensor(one.values.shape(), 5);
      Tensor values = one.values;
      std::copy_n(random.data<float>(), random.numel(), values.mutable_data<float>());
    }
  }
  // windows: x, y of four steps for each person
  Floats outputs(const std::vector<Floats>& windows) const {
    std::vector<EncodedInput> inputs;
    for (const Floats& numbers : windows)
      inputs.push_back({.input = {.features = Tensor::from(numbers, {static_cast<int64_t>(numbers.size()) / 8, 8})}});
    std::vector<const EncodedInput*> all;
    for (const EncodedInput& one : inputs) all.push_back(&one);
    Compute compute;
    return values(network_->logits(compute, collate(all, 0).input, nullptr));
  }

  Parameters parameters_{3};
  std::unique_ptr<Network> network_;
};

const Floats kWalks = {0, 0, 1, 0, 2, 0, 3, 0.5F}, kMeets = {9, 1, 8, 1, 7, 1.5F, 6, 1}, kStands = {2, 4, 2, 4, 2, 4, 2, 4};

Floats joined(const std::vector<Floats>& people) {
  Floats out;
  for (const Floats& one : people) out.insert(out.end(), one.begin(), one.end());
  return out;
}

TEST_F(SocialAttention, PredictsConstantVelocityBeforeTraining) {
  const Floats found = outputs({joined({kWalks, kStands})}), expected = {1, 2, 0.5F, 1, 0, 0, 0, 0};
  for (size_t at = 0; at < expected.size(); ++at) EXPECT_NEAR(found[at], expected[at], 1e-5);
}

TEST_F(SocialAttention, PaddingAndTheOrderOfPeopleChangeNothing) {
  randomise();
  const Floats alone = outputs({joined({kWalks, kMeets})}), padded = outputs({joined({kMeets, kWalks}), joined({kStands, kWalks, kMeets})});
  for (size_t at = 0; at < 4; ++at) {
    EXPECT_NEAR(padded[4 + at], alone[at], 1e-4);  // rows of three people each
    EXPECT_NEAR(padded[at], alone[4 + at], 1e-4);
  }
}

TEST_F(SocialAttention, APredictionDependsOnThePeopleAround) {
  randomise();
  const Floats with = outputs({joined({kWalks, kMeets})}), without = outputs({kWalks});
  float most = 0;
  for (size_t at = 0; at < 4; ++at) most = std::max(most, std::abs(with[at] - without[at]));
  EXPECT_GT(most, 0.01F);
}

TEST_F(SocialAttention, RotatingAndMovingTheSceneRotatesThePrediction) {
  randomise();
  const float c = 0.6F, s = 0.8F;
  Floats scene = joined({kWalks, kMeets}), turned(scene.size());
  for (size_t at = 0; at < scene.size(); at += 2) {
    turned[at] = c * scene[at] - s * scene[at + 1] + 30;
    turned[at + 1] = s * scene[at] + c * scene[at + 1] - 20;
  }
  const Floats before = outputs({scene}), after = outputs({turned});
  for (size_t person = 0; person < 2; ++person) {
    for (size_t step = 0; step < 2; ++step) {
      const float x = before[4 * person + step], y = before[4 * person + 2 + step];
      EXPECT_NEAR(after[4 * person + step], c * x - s * y, 1e-3);
      EXPECT_NEAR(after[4 * person + 2 + step], s * x + c * y, 1e-3);
    }
  }
}

TEST_F(SocialAttention, AnObserverGetsOneMapOfAllStepsThatChangesNothing) {
  randomise();
  const Floats scene = joined({kWalks, kMeets}), without = outputs({scene});
  const EncodedInput input{.input = {.features = Tensor::from(scene, {2, 8})}};
  Maps maps;
  Compute compute({.observer = &maps});
  const Floats with = values(network_->logits(compute, collate({&input}, 0).input, nullptr));
  for (size_t at = 0; at < with.size(); ++at) EXPECT_NEAR(with[at], without[at], 1e-4);
  const AttentionMap& time = maps.at("time", 0);
  ASSERT_EQ(time.shape().keys, 8);
  const MapRow row = time.head(0, 1).row(3);  // the last step of the first person
  double own = 0, others = 0;
  for (size_t key = 0; key < 8; ++key) (key < 4 ? own : others) += static_cast<double>(std::max(0.0F, row.weights()[key]));
  EXPECT_NEAR(own, 1, 1e-5);
  EXPECT_EQ(others, 0);
  EXPECT_EQ(maps.at("people", 0).shape().keys, 2);
}

TEST(SocialAttentionConfig, FieldsThatDoNotFitAreRefused) {
  const auto refused = [](const std::string& tracks, int64_t labels, const std::string& says) {
    struct Access : SocialAttention {
      using SocialAttention::network;
      void TestBody() override {}
    };
    expect_refused(ErrorCode::kFormat, says, [&] {
      Parameters parameters;
      Access::network(tracks, labels, parameters);
    });
  };
  refused(R"({"observed_steps": 4, "predicted_steps": 2})", 3, "\"id2label\": expected 4 labels, x and y of each predicted step, found 3");
  refused(R"({"observed_steps": 3})", 24, "\"tracks.observed_steps\": expected a whole number from 4 to 1000, found 3");
  refused(R"({"seconds_per_step": 0})", 24, "\"tracks.seconds_per_step\": expected a number above 0, found 0");
}

TEST(TracksInput, ItsItemsAreTheStepsOfEveryPersonThenThePeople) {
  NetworkFacts facts{.reads = "crowd"};
  facts.tracks = kFacts;
  const RunText text = describe_input(facts, nullptr, {.series = *track_window(kFacts, table(), 30)});
  ASSERT_EQ(text.items.size(), 2U);
  EXPECT_EQ(text.items[0].kind, "step");
  EXPECT_EQ(text.items[1].kind, "person");
  EXPECT_EQ(text.items[1].begin, 8);
  EXPECT_EQ(text.pieces[0], "person 1, −1.5 s");
  EXPECT_EQ(text.pieces[7], "person 2, now");
  EXPECT_EQ(text.pieces[9], "person 2");
  EXPECT_TRUE(text.items[1].picture.defined());
}

}  // namespace
}  // namespace clearhead
