// The attribution target for a network that transcribes sound: one or more tokens of the transcript, over the frames of the sound. Items
// are the frames of the network's attention, each of several steps of the spectrogram. As "masked", a frame is replaced by the mean of
// the sound.
#include <numeric>

#include "base/format.h"
#include "clearhead/answers.h"
#include "clearhead/error.h"
#include "clearhead/generate.h"
#include "explain/answer_kind.h"
#include "explain/joined_steps.h"
#include "explain/sides.h"
#include "explain/target_words.h"
#include "models/encoded_input.h"
#include "models/input_kind.h"
#include "models/loaded_network.h"
#include "models/run_text.h"
#include "ops/recorder.h"

namespace clearhead::explain {
namespace {

class SoundTarget final : public AttributionTarget {
 public:
  SoundTarget(std::shared_ptr<const Model> model, const ModelInput& input, const TargetSpec& asked)
      : AttributionTarget(std::move(model)),
        network_(network_model(*model_, "does not transcribe sounds")),
        read_(encode_input(network_.facts(), network_.tokenizer_or_null(), input)) {
    const Tokenizer& tokenizer = model_->tokenizer();
    const WrittenText written = written_text(model_->info().first_token, transcribe(*model_, {input.sound})[0].ids, &tokenizer);
    const Range at = written_tokens(*model_, asked.target, written);
    target_ = written.encoding;
    const auto longest = static_cast<size_t>(model_->info().longest);  // the last token of a transcript of this length is never read
    if (longest > 0 && target_.size() > longest) keep_first(target_, longest);
    const std::string before = written.text.substr(0, static_cast<size_t>(target_.offsets[static_cast<size_t>(at.begin)][1]));
    for (int64_t row = at.begin; row < at.end; ++row) rows_.push_back(row);
    answer_ids_ = asked.target_ids;
    if (answer_ids_.empty()) answer_ids_.assign(written.encoding.ids.begin() + at.begin + 1, written.encoding.ids.begin() + at.end + 1);
    if (answer_ids_.size() != rows_.size())
      fail(ErrorCode::kInvalidArgument, "{}: {} answer ids for {} generated tokens; expected one for each", model_->info().name,
           answer_ids_.size(), rows_.size());
    contrast_ = asked.contrast_id.value_or(-1);
    if (!asked.contrast.empty()) {
      const Tensor logits = logits_of(frames(), {});
      contrast_ =
          single_token(*model_, asked.contrast, spellings_of(*model_, asked.contrast, before), logits.data<float>(), kContrastNeedsOne);
    }
    check_answer(model_->info().vocabulary);
    answer_ = spelled(*model_, answer_ids_) + (before.empty() ? " as the first token" : " after " + in_quotes(before)) +
              (contrast_ >= 0 ? " against " + spelled(*model_, contrast_) : "");
    HeardSites heard;
    run_from_input(*model_, input, target_, {.observer = &heard, .text = written.text});
    plan_ = heard.plan;
    side_ = query_side(heard.last);
    std::vector<Range> items;
    for (const ItemRange& range : plan_.text.items) {
      for (int64_t id = range.begin; id < range.end; ++id) items.push_back({id, id + 1});
    }
    first_ = items.empty() ? 0 : items.front().begin;
    begin_with(std::move(items));
    probability_ = run(nullptr, {}).probability;
  }

  std::vector<double> answers(const std::vector<std::vector<uint8_t>>& removed, RemovedBy how) const override {
    std::vector<double> out;
    for (const std::vector<uint8_t>& set : removed) {
      const std::vector<uint8_t> away = removed_ids(set);
      const Tensor logits = how == RemovedBy::kUnseen ? logits_of(frames(), {.interventions = hidden_keys(plan_, items_, away)})
                                                      : logits_of(masked(away), {});
      out.push_back(probability_of(logits.data<float>(), logits.size(1)));
    }
    return out;
  }

  Outcome run(Observer* observer, const Interventions& interventions) const override {
    const Tensor logits = logits_of(frames(), {.observer = observer, .interventions = interventions});
    return outcome_of(logits.data<float>(), logits.size(1));
  }

  double differentiate(InputTape& tape, Observer* observer, const Interventions& interventions, Number number) const override {
    JoinedSteps joined(observer);
    const RunOptions recorded{.observer = observer ? &joined : nullptr, .interventions = interventions, .recorder = &tape};
    const double y = backward(tape, logits_of(frames(), recorded), number);
    joined.finish();
    return y;
  }

 private:
  const Tensor& frames() const { return read_.source->features; }  // f32 [step, mel]

  // The logits of the rows from which the answer is read: [row, token]
  Tensor logits_of(const Tensor& spectrogram, const RunOptions& options) const {
    const EncodedSide sound{.features = spectrogram}, text{.sequences = {target_.ids}};
    Batch source = collate_side({&sound}, network_.facts().pad);
    const Batch target = collate_side({&text}, network_.facts().pad);
    if (options.recorder) options.recorder->embedded("features", source.features);
    return network_.run_batch(target, &source, options).causal_logits.select(0, 0).slice(0, rows_.front(), rows_.back() + 1);
  }

  Tensor masked(const std::vector<uint8_t>& away) const {
    const Tensor whole = frames().contiguous();
    Tensor out = whole.clone();
    const int64_t steps = whole.size(0), mels = whole.size(1), each = network_.facts().sound.frames;
    for (int64_t mel = 0; mel < mels; ++mel) {
      double mean = 0;
      for (int64_t step = 0; step < steps; ++step) mean += static_cast<double>(whole.data<float>()[step * mels + mel]);
      mean /= static_cast<double>(steps);
      for (int64_t step = 0; step < steps; ++step) {
        if (away[static_cast<size_t>(first_ + step / each)]) out.mutable_data<float>()[step * mels + mel] = static_cast<float>(mean);
      }
    }
    return out;
  }

  const LoadedNetwork& network_;
  EncodedInput read_;
  Encoding target_{};  // the whole transcript: tokens after the row do not affect the answer, and ids match those of a trace
  int64_t first_ = 0;  // id of the first frame
};

}  // namespace

const AnswerKind& transcript_answer() {
  static const AnswerKind kind{
      .name = "written",
      .applies =
          [](const ModelInfo& info) {
            const InputKind& read = input_kind(info);
            return !read.is_text() && read.has_target;
          },
      .of_input = target_of_input<SoundTarget>,
      .of_each_token = true,
      .is_sequence = true,
      .shown = written_answers,
  };
  return kind;
}

}  // namespace clearhead::explain
