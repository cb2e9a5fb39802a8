// --test for speech models. Transcribes with the model's own beam settings; takes the strongest frame of each step from the
// cross-attention of a run over the transcript.
#include "cli/transcripts.h"

#include <algorithm>

#include "base/format.h"
#include "clearhead/answers.h"
#include "clearhead/generate.h"
#include "cli/cli.h"
#include "metrics/words.h"
#include "tasks/speech_recognition.h"

namespace clearhead::cli {
namespace {

// Counts the rows of the cross-attention whose strongest key is the same as that of the row before, or later, in the first head of
// every layer. The last row is not counted: it predicts the token after the transcript.
class Forward final : public Observer {
 public:
  void begin(const RunPlan&) override {}
  bool wants(const Site& site) override { return site.family == "cross"; }
  void take(const Site&, const AttentionRecord& record, const KeyNorms&) override {
    const AttentionMap map(record);
    int64_t before = -1;
    for (int64_t query = map.rows_kept().begin; query + 1 < map.rows_kept().end; ++query) {
      const std::vector<float> weights = map.head(0, 0).row(query).weights();
      const int64_t strongest = std::max_element(weights.begin(), weights.end()) - weights.begin();
      if (before >= 0) {
        ++steps_;
        forward_ += strongest >= before;
      }
      before = strongest;
    }
  }
  double share() const { return static_cast<double>(forward_) / static_cast<double>(std::max<int64_t>(1, steps_)); }

 private:
  int64_t steps_ = 0, forward_ = 0;
};

struct Errors {
  metrics::ErrorRate words, characters;
};
Errors errors_of(const Model& model, const std::vector<tasks::Transcript>& sounds, const GenerateOptions& options) {
  std::vector<Sound> heard;
  std::vector<std::string> expected, written;
  for (const tasks::Transcript& one : sounds) {
    heard.push_back(one.sound);
    expected.push_back(one.text);
  }
  for (const Generated& made : transcribe(model, heard, options)) written.push_back(made.text);
  return {metrics::word_error_rate(written, expected), metrics::character_error_rate(written, expected)};
}

}  // namespace

void measure_transcripts(const tasks::Recipe& recipe, const Model& model, bool json) {
  const tasks::TestTranscripts sounds = tasks::test_transcripts(recipe);
  std::optional<Progress> progress("transcribing");
  GenerateOptions options{.max_tokens = 2 * recipe.length, .progress = progress->callback(), .beams = default_beams(model)};
  const auto [alone, alone_characters] = errors_of(model, sounds.alone, options);
  const auto [joined, joined_characters] = errors_of(model, sounds.joined, options);
  progress.reset();
  Forward forward;
  for (const tasks::Transcript& one : sounds.joined) observe(model, {.sound = one.sound}, forward);
  const auto [least, most] = recipe.task->as<tasks::SoundTable>().tested;
  if (json) {
    return print_json(Json::object({{"word_errors_alone", alone.rate},
                                    {"character_errors_alone", alone_characters.rate},
                                    {"sounds", static_cast<int64_t>(sounds.alone.size())},
                                    {"word_errors_joined", joined.rate},
                                    {"character_errors_joined", joined_characters.rate},
                                    {"substitutions", joined.substitutions},
                                    {"insertions", joined.insertions},
                                    {"deletions", joined.deletions},
                                    {"joined", static_cast<int64_t>(sounds.joined.size())},
                                    {"attention_forward", forward.share()}}));
  }
  print(
      format("word error rate {:.2f} %  {} sounds, each alone", alone.rate * 100, with_commas(static_cast<int64_t>(sounds.alone.size()))));
  print(format("word error rate {:.2f} %  {} sequences of {} to {} sounds: {} substituted, {} inserted, {} deleted of {} words",
               joined.rate * 100, with_commas(static_cast<int64_t>(sounds.joined.size())), least, most, joined.substitutions,
               joined.insertions, joined.deletions, with_commas(joined.hits + joined.substitutions + joined.deletions)));
  print(format("character error rate {:.2f} % of sounds alone, {:.2f} % of sequences", alone_characters.rate * 100,
               joined_characters.rate * 100));
  print(format("attention does not move backwards in {:.2f} % of the steps", forward.share() * 100));
}

}  // namespace clearhead::cli
