// Speech recognition. For every batch, sequences of sounds are drawn, depending on the recipe's seed and the batch's number. All
// sequences of a batch have the same number of sounds, in the range that "joined" gives; the sounds of a sequence are by one speaker
// (if the recipe names a column of speakers), with pauses of 0.05 to 0.2 s between them.
// For validation and test, the sequences are drawn once. The loss is that of translation:
// cross-entropy of each token given the tokens before it.
#include "tasks/speech_recognition.h"

#include <algorithm>
#include <map>

#include "base/format.h"
#include "base/hash.h"
#include "base/random.h"
#include "clearhead/error.h"
#include "models/input_kind.h"
#include "tasks/data/labelled_data.h"
#include "tasks/data/text_data.h"
#include "tasks/recipe/task_definition.h"

namespace clearhead::tasks {
namespace {

constexpr uint64_t kStringsSeed = 0x537472696E6773;  // seed of the sequences that are drawn once

LabelledFiles rows_of_table(const Recipe& recipe, const std::string& column, const std::string& part) {
  const SoundTable& sounds = recipe.task->as<SoundTable>();
  (void)open_source(recipe.source, sounds.table);  // if the file is missing, throws an error that says where to get the data
  return LabelledFiles(recipe.source.folder + "/" + sounds.table,
                       {.file = sounds.file, .label = column, .part_column = sounds.part, .part = part});
}

// The sounds of one split of the table, in memory.
class Sounds {
 public:
  Sounds(const Recipe& recipe, const std::string& part) {
    const TaskRecipe& task = *recipe.task;
    const LabelledFiles texts = rows_of_table(recipe, task.data.text, part);
    for (int64_t at = 0; at < texts.size(); ++at) {
      const SoundBatch one = texts.sounds({at});
      all_.push_back({{one.samples.select(0, 0), one.rate}, texts.labels()[static_cast<size_t>(one.labels[0])]});
    }
    std::map<int32_t, std::vector<size_t>> by_speaker;
    if (task.as<SoundTable>().speaker.empty()) {
      for (size_t at = 0; at < all_.size(); ++at) by_speaker[0].push_back(at);
    } else {
      const LabelledFiles speakers = rows_of_table(recipe, task.as<SoundTable>().speaker, part);
      for (size_t at = 0; at < all_.size(); ++at) by_speaker[speakers.rows()[at].label].push_back(at);
    }
    for (auto& [speaker, sounds] : by_speaker) of_speaker_.push_back(std::move(sounds));
    for (size_t at = 0; at < all_.size(); ++at) {
      const Sound& sound = all_[at].sound;
      if (sound.rate != rate() || sound.samples.size(0) != 1) {
        fail(ErrorCode::kShape, "{}: {} channels of {} samples a second; expected one channel of {}, as in {}", texts.rows()[at].path,
             sound.samples.size(0), with_commas(sound.rate), with_commas(rate()), texts.rows()[0].path);
      }
    }
  }

  const std::vector<Transcript>& all() const { return all_; }
  int64_t rate() const { return all_[0].sound.rate; }

  Transcript drawn(RandomSequence& random, int64_t count) const {
    const std::vector<size_t>& of = of_speaker_[random.roll(of_speaker_.size())];
    std::vector<float> samples;
    Transcript out;
    out.sound.rate = rate();
    for (int64_t at = 0; at < count; ++at) {
      const Transcript& one = all_[of[random.roll(of.size())]];
      if (at > 0) samples.resize(samples.size() + static_cast<size_t>(rate() / 20) + random.roll(static_cast<size_t>(rate() * 3 / 20)));
      const Tensor& sound = one.sound.samples;
      samples.insert(samples.end(), sound.data<float>(), sound.data<float>() + sound.numel());
      out.text += (at > 0 ? " " : "") + one.text;
    }
    out.sound.samples = Tensor::from(samples, {1, static_cast<int64_t>(samples.size())});
    return out;
  }

  // Draws as many sequences as there are sounds; each number of sounds in the range `counts` is equally frequent.
  std::vector<Transcript> strings(uint64_t seed, const SoundTable::Count& counts) const {
    RandomSequence random(random_bits(seed, kStringsSeed));
    std::vector<Transcript> out;
    for (int64_t at = 0; at < static_cast<int64_t>(all_.size()); ++at)
      out.push_back(drawn(random, counts[0] + at % (counts[1] - counts[0] + 1)));
    return out;
  }

  void add_to(Digest& digest) const {
    for (const Transcript& one : all_) {
      digest.add(one.text.data(), one.text.size());
      digest.add(one.sound.samples.raw(), one.sound.samples.bytes());
    }
  }

 private:
  std::vector<Transcript> all_{};
  std::vector<std::vector<size_t>> of_speaker_{};
};

class Transcribe final : public Task {
 public:
  Transcribe(const Recipe& recipe, const Tokenizer& tokenizer, const NetworkFacts& facts)
      : recipe_(recipe), tokenizer_(tokenizer), facts_(facts), training_(recipe, recipe.task->train), held_(recipe, recipe.task->valid) {
    if (const int64_t rate = facts.sound.mel.rate; training_.rate() != rate || held_.rate() != rate) {
      fail(ErrorCode::kInvalidArgument,
           "{}: \"model.sound.rate\" is {}, but the sounds of {} have {} samples a second in training and {} in "
           "validation; expected the same rate",
           recipe.where, rate, recipe.task->as<SoundTable>().table, training_.rate(), held_.rate());
    }
  }

  Example batch(int64_t number) const override {
    RandomSequence random(random_bits(recipe_.seed, static_cast<uint64_t>(number)));
    const auto [least, most] = recipe_.task->as<SoundTable>().joined;
    const int64_t count = least + static_cast<int64_t>(random.roll(static_cast<size_t>(most - least + 1)));
    std::vector<Transcript> strings;
    for (int64_t at = 0; at < recipe_.batch; ++at) strings.push_back(training_.drawn(random, count));
    return example_of(strings, 0, strings.size());
  }

  std::vector<Example> validation_batches() const override {
    std::vector<Transcript> strings = held_.strings(recipe_.seed, recipe_.task->as<SoundTable>().joined);
    std::stable_sort(strings.begin(), strings.end(),
                     [](const Transcript& a, const Transcript& b) { return a.sound.samples.numel() < b.sound.samples.numel(); });
    std::vector<Example> out;
    const auto batch = static_cast<size_t>(recipe_.batch);
    for (size_t begin = 0; begin < strings.size(); begin += batch)
      out.push_back(example_of(strings, begin, std::min(strings.size(), begin + batch)));
    return out;
  }

  int64_t tokens() const override {
    int64_t tokens = 0;
    for (const Transcript& one : training_.all()) tokens += static_cast<int64_t>(tokenizer_.encode(one.text).size());
    return tokens;
  }
  std::string digest() const override {
    Digest digest;
    training_.add_to(digest);
    held_.add_to(digest);
    return digest.hex();
  }
  std::vector<DataSummary> summary() const override {
    const TaskRecipe& task = *recipe_.task;
    return {summary_of("training", task.train, training_), summary_of("validation", task.valid, held_)};
  }
  double held_bytes_per_token() const override { return 0; }

  std::vector<std::string> metric_names() const override { return {"token_accuracy"}; }
  std::vector<double> predictions(const RunResult& result, const Example&) const override {
    const Tensor& logits = result.causal_logits;
    return largest_of_rows(logits.reshape({logits.size(0) * logits.size(1), logits.size(2)}));
  }
  std::vector<double> metrics(const std::vector<Example>& examples, const std::vector<std::vector<double>>& predictions) const override {
    int64_t right = 0, counted = 0;
    for (size_t at = 0; at < examples.size(); ++at) {
      for (size_t token = 0; token < examples[at].targets.size(); ++token)
        right += predictions[at][token] == static_cast<double>(examples[at].targets[token]);
      counted += examples[at].counted;
    }
    return {static_cast<double>(right) / static_cast<double>(counted)};
  }

 private:
  DataSummary summary_of(const char* part, const std::string& name, const Sounds& sounds) const {
    DataSummary out{.part = part, .files = format("part \"{}\" of {}", name, recipe_.task->as<SoundTable>().table), .of = "sounds"};
    std::vector<int64_t> samples, tokens;
    for (const Transcript& one : sounds.all()) {
      samples.push_back(one.sound.samples.numel());
      tokens.push_back(static_cast<int64_t>(tokenizer_.encode(one.text).size()));
    }
    out.count = static_cast<int64_t>(samples.size());
    out.add_lengths("samples", samples);
    out.add_lengths("tokens", tokens);
    return out;
  }

  Example example_of(const std::vector<Transcript>& strings, size_t begin, size_t end) const {
    std::vector<EncodedSide> sounds;
    std::vector<std::vector<int32_t>> texts;
    Example out;
    out.input.batch = static_cast<int64_t>(end - begin);
    for (size_t at = begin; at < end; ++at) {
      sounds.push_back(std::move(*encode_input(facts_, &tokenizer_, {.sound = strings[at].sound}).source));
      texts.push_back(tokenizer_.encode(strings[at].text).ids);
      if (texts.back().empty()) fail(ErrorCode::kInvalidArgument, "{}: the text \"{}\" has no tokens", recipe_.where, strings[at].text);
      out.input.length = std::max(out.input.length, static_cast<int64_t>(texts.back().size()));
    }
    if (out.input.length > recipe_.length) {
      fail(ErrorCode::kTooLong, "{}: a text has {} tokens, but \"length\" is {}; give a larger length, or join fewer sounds", recipe_.where,
           out.input.length, recipe_.length);
    }
    std::vector<const EncodedSide*> readings;
    for (const EncodedSide& sound : sounds) readings.push_back(&sound);
    out.source = collate_side(readings, facts_.pad);
    const auto padded = [&](std::vector<int32_t>& to, int32_t fill) {
      to.resize((to.size() + static_cast<size_t>(out.input.length) - 1) / static_cast<size_t>(out.input.length) *
                    static_cast<size_t>(out.input.length),
                fill);
    };
    for (const std::vector<int32_t>& ids : texts) {
      out.input.ids.push_back(facts_.first_token);
      out.input.ids.insert(out.input.ids.end(), ids.begin(), ids.end() - 1);
      padded(out.input.ids, facts_.pad);
      out.input.lengths.push_back(static_cast<int32_t>(ids.size()));
      out.targets.insert(out.targets.end(), ids.begin(), ids.end());
      padded(out.targets, -100);
      out.counted += static_cast<int64_t>(ids.size());
    }
    return out;
  }

  const Recipe& recipe_;
  const Tokenizer& tokenizer_;
  NetworkFacts facts_;
  Sounds training_, held_;
};

std::vector<std::string> transcribed_texts(const Recipe& recipe) {
  const LabelledFiles texts = rows_of_table(recipe, recipe.task->data.text, recipe.task->train);
  std::string line;
  for (const LabelledFile& row : texts.rows()) line += (line.empty() ? "" : " ") + texts.labels()[static_cast<size_t>(row.label)];
  return {line};
}

SoundTable::Count read_count(Fields& fields, const char* name, const SoundTable::Count& otherwise) {
  const Json* given = fields.take(name);
  if (!given) return otherwise;
  const bool is_pair = given->is_array() && given->size() == 2 && given->items()[0].is_integer() && given->items()[1].is_integer();
  const SoundTable::Count out =
      is_pair ? SoundTable::Count{given->items()[0].integer(), given->items()[1].integer()} : SoundTable::Count{0, 0};
  if (out[0] < 1 || out[1] < out[0] || out[1] > 100)
    fields.wrong(name, "the smallest and the largest number of sounds to join, from 1 to 100, as in [1, 7]", *given);
  return out;
}

const Schema<SoundTable>& sound_schema() {
  static const Schema<SoundTable> schema = {
      schema::required_string("table", &SoundTable::table, "the table: a file in the data's folder whose first line names the columns"),
      schema::required_string("file", &SoundTable::file, "the column with the paths of the sound files"),
      schema::required_string("part", &SoundTable::part,
                              "the column with the split of each sound; \"train\", \"valid\" and \"test\" give its values"),
      schema::string("speaker", &SoundTable::speaker,
                     "the column with the speaker of each sound; only sounds of the same speaker are joined"),
      {{"joined", "two integers from 1 to 100", "[1, 1]",
        "smallest and largest number of sounds that are joined into one example, with pauses of 0.05 to 0.2 s"},
       [](Fields& fields, SoundTable& to) { to.joined = read_count(fields, "joined", to.joined); }},
      {{"tested", "two integers from 1 to 100", "as \"joined\"", "the same, for the examples that --test measures"},
       [](Fields& fields, SoundTable& to) { to.tested = read_count(fields, "tested", to.joined); }},
  };
  return schema;
}

const Schema<LabelledDataRecipe>& text_schema() {
  static const Schema<LabelledDataRecipe> schema = {
      schema::required_string("text", &LabelledDataRecipe::text, "the column of the texts"),
  };
  return schema;
}

}  // namespace

TestTranscripts test_transcripts(const Recipe& recipe) {
  if (recipe.task->test.empty())
    fail(ErrorCode::kInvalidArgument, "{}: \"task\" has no \"test\"; --test needs the name of the test split", recipe.where);
  const Sounds sounds(recipe, recipe.task->test);
  return {sounds.all(), sounds.strings(recipe.seed, recipe.task->as<SoundTable>().tested)};
}

const TaskDefinition& speech_recognition_task() {
  static const TaskDefinition definition = {
      .name = "speech-recognition",
      .description = "the transcript of a sound, by a speech recognition network (Listen, Attend and Spell)",
      .reads = {"sound"},
      .head = TrainedHead::kCausal,
      .test = TestMethod::kTranscripts,
      .can_hold_out = false,
      .writes_text = true,
      .fields = [] { return described_by(text_schema(), sound_schema()); },
      .read =
          [](Fields& fields, Recipe& to) {
            text_schema().read(fields, to.task->data);
            read_settings(sound_schema(), fields, to);
          },
      .commands = {{"transcribe", "FILE.wav"}},
      .vocabulary_texts = transcribed_texts,
      .make = make_task<Transcribe>,
  };
  return definition;
}

}  // namespace clearhead::tasks
