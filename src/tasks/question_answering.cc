// Extractive question answering, as in SQuAD 2.0: an answer is a span of a text. JSON lines:
//
//   questions   {"question": "…", "context": "…", "answers": …}      "context": the text, or an id in the files of contexts
//               answers: [[first character, first byte, "…"], …], or {"text": ["…", …], "answer_start": [first character, …]};
//               an empty list: unanswerable
//   contexts    {"id": "…", "text": "…"}
//
//   loss = mean over windows of ½·(cross-entropy of starts + cross-entropy of ends), over the window's tokens
//
// Training uses the first answer, measurements use all. A window (models/spans.h) that does not contain the whole answer has its target
// at the first token, like an unanswerable question. Scores are those of SQuAD 2.0 (metrics/answers.h). A question is
// answered if null score − score of the best span is at most the threshold. If the recipe gives no threshold, the
// one with the best F1 on the validation file is used, as in find_best_thresh of SQuAD's script, except that it lies halfway between the
// differences of two questions. The validation F1 is measured with that threshold, the test F1 with the threshold of the saved model.
#include <algorithm>
#include <limits>
#include <unordered_map>

#include "base/format.h"
#include "base/table.h"
#include "base/utf8.h"
#include "clearhead/error.h"
#include "metrics/answers.h"
#include "models/spans.h"
#include "ops/ops.h"
#include "tasks/data/labelled_data.h"
#include "tasks/recipe/task_definition.h"

namespace clearhead::tasks {
namespace {

struct AnswerRecipe {
  std::vector<std::string> contexts{};  // files of texts that questions refer to; empty: questions contain their text
  int64_t overlap = 64, longest = 30;   // as in AnswerSettings
  int64_t answerable_first = 0;         // for the first N steps, train only on windows that contain the answer
  std::optional<double> threshold{};    // as in AnswerSettings; absent: the one with the best F1 on the validation file
};

const Schema<AnswerRecipe>& recipe_schema() {
  static const Schema<AnswerRecipe> schema = {
      schema::strings("contexts", &AnswerRecipe::contexts, "none",
                      "files of texts that questions refer to; without them, each question contains its text"),
      schema::integer("overlap", &AnswerRecipe::overlap, {0}, "tokens that neighbouring windows of a text share"),
      schema::integer("longest", &AnswerRecipe::longest, {1}, "maximum number of tokens in an answer"),
      schema::integer("answerable_first", &AnswerRecipe::answerable_first, {0},
                      "for the first N steps, train only on windows that contain the answer"),
      {{"threshold", "a number", "the one with the best F1 on the validation file",
        "if the null score exceeds the score of the best span by more than this, the question has no answer"},
       [](Fields& fields, AnswerRecipe& to) {
         if (const Json* given = fields.take("threshold"); given) to.threshold = fields.number("threshold");
       }},
  };
  return schema;
}

struct Question {
  std::string text{};
  std::shared_ptr<const std::string> context{};
  std::vector<std::string> answers{};
  std::array<int64_t, 2> span{};  // byte range of the first answer in the context; empty: unanswerable
};

// The byte offset of a character in valid UTF-8; −1 beyond the text's end.
int64_t byte_of(const std::string& text, int64_t character) {
  for (size_t byte = 0; byte < text.size(); ++byte) {
    if (!continues_character(text[byte]) && character-- == 0) return static_cast<int64_t>(byte);
  }
  return -1;
}

class AnswerFiles {
 public:
  explicit AnswerFiles(const Recipe& recipe) : recipe_(recipe) {}

  std::vector<Question> questions(const std::string& file) {
    read_contexts();
    const SourceText opened = open_text(recipe_.source, file);
    std::vector<Question> out;
    for_each_line(opened.text, [&](std::string_view line, int64_t number) {
      const std::string where = format("{}, line {}", opened.path(), number);
      const Json json = Json::parse(line, where);
      Fields fields(json, where);
      Question question{fields.string("question"), context_of(fields, where)};
      for (const auto& [begin, text] : answers_of(fields, *question.context)) {
        if (begin < 0 || question.context->compare(static_cast<size_t>(begin), text.size(), text) != 0)
          fail(ErrorCode::kFormat, "{}: \"answers\": \"{}\" does not occur in the context at its start position", where, text);
        if (question.answers.empty()) question.span = {begin, begin + static_cast<int64_t>(text.size())};
        question.answers.push_back(text);
      }
      out.push_back(std::move(question));
    });
    return out;
  }

 private:
  void read_contexts() {
    if (!contexts_.empty()) return;
    for (const std::string& file : recipe_.task->as<AnswerRecipe>().contexts) {
      const SourceText opened = open_text(recipe_.source, file);
      for_each_line(opened.text, [&](std::string_view line, int64_t number) {
        const std::string where = format("{}, line {}", opened.path(), number);
        const Json json = Json::parse(line, where);
        Fields fields(json, where);
        const std::string id = fields.string("id");
        if (!contexts_.emplace(id, std::make_shared<const std::string>(fields.string("text"))).second)
          fail(ErrorCode::kFormat, "{}: \"id\": \"{}\" is already the id of an earlier context; expected different ids", where, id);
      });
    }
  }

  std::shared_ptr<const std::string> context_of(Fields& fields, const std::string& where) const {
    const std::string context = fields.string("context");
    if (recipe_.task->as<AnswerRecipe>().contexts.empty()) return std::make_shared<const std::string>(context);
    const auto found = contexts_.find(context);
    if (found == contexts_.end())
      fail(ErrorCode::kFormat, "{}: \"context\": no file of \"task.contexts\" has the id \"{}\"", where, context);
    return found->second;
  }

  // The byte offset and the text of each answer; offset −1: outside the context.
  static std::vector<std::pair<int64_t, std::string>> answers_of(Fields& fields, const std::string& context) {
    const Json& given = fields.require("answers");
    const std::string expected = "a list of [first character, first byte, text], or {\"text\": [...], \"answer_start\": [...]}";
    std::vector<std::pair<int64_t, std::string>> out;
    const Json *texts = given.find("text"), *starts = given.find("answer_start");
    if (texts && starts && texts->is_array() && starts->is_array() && texts->size() == starts->size()) {
      for (size_t at = 0; at < texts->size(); ++at) {
        const Json &text = texts->items()[at], &start = starts->items()[at];
        if (!text.is_string() || !start.is_integer()) fields.wrong("answers", expected, given);
        out.emplace_back(byte_of(context, start.integer()), text.string());
      }
      return out;
    }
    if (!given.is_array()) fields.wrong("answers", expected, given);
    for (const Json& one : given.items()) {
      const bool fits = one.is_array() && one.size() == 3 && one.items()[1].is_integer() && one.items()[2].is_string();
      if (!fits) fields.wrong("answers", expected, one);
      const int64_t begin = one.items()[1].integer();
      out.emplace_back(begin <= static_cast<int64_t>(context.size()) ? begin : -1, one.items()[2].string());
    }
    return out;
  }

  const Recipe& recipe_;
  std::unordered_map<std::string, std::shared_ptr<const std::string>> contexts_;
};

// The first and the last token of the answer in a window; the window's first token, twice, if it does not contain the whole answer.
std::vector<int32_t> targets_of(const Encoding& window, std::array<int64_t, 2> span) {
  int32_t first = -1, last = -1;
  for (size_t token = 0; token < window.size(); ++token) {
    if (window.segment[token] != 1) continue;
    const auto [begin, end] = window.offsets[token];
    if (begin <= span[0] && span[0] < end) first = static_cast<int32_t>(token);
    if (begin < span[1] && span[1] <= end) last = static_cast<int32_t>(token);
  }
  return first >= 0 && last >= first ? std::vector<int32_t>{first, last} : std::vector<int32_t>{0, 0};
}

class Answer final : public ItemTask {
 public:
  Answer(const Recipe& recipe, const Tokenizer& tokenizer)
      : ItemTask(recipe, tokenizer, /*per_token=*/false,
                 [this](const std::string& file, DataSummary& summary) { return items_of(file, summary); }),
        tokenizer_(tokenizer),
        files_(recipe),
        settings_{.window = recipe.length,
                  .overlap = recipe.task->as<AnswerRecipe>().overlap,
                  .longest = recipe.task->as<AnswerRecipe>().longest},
        threshold_(recipe.task->as<AnswerRecipe>().threshold),
        recipe_(recipe) {
    if (recipe.smoothing > 0)
      fail(ErrorCode::kUnsupported,
           "{}: \"smoothing\" is not supported: it would give probability to starts and ends in the padding; leave it out", recipe.where);
  }

  // If half of the questions have no answer, a small encoder first learns to point at the first token for every question, and then
  // hardly changes. So it is first trained on answerable windows only.
  Example batch(int64_t number) const override {
    if (number / recipe_.accumulate >= recipe_.task->as<AnswerRecipe>().answerable_first) return ItemTask::batch(number);
    if (!answerable_) answerable_.emplace(training().chosen(&holds_answer));
    return answerable_->shuffled(recipe_.seed, number);
  }

  Tensor loss(Run& run, const RunResult& result, const Example& example, double /*smoothing*/, double divisor) const override {
    const int64_t batch = example.input.batch, length = example.input.length;
    Tensor logits = run.result({2, batch, length});  // starts, then ends
    ops::copy(run, result.class_logits.permute({2, 0, 1}), logits);
    std::vector<int32_t> targets(example.targets.size());
    Tensor padding = Tensor::zeros({1, batch, length});
    for (int64_t row = 0; row < batch; ++row) {
      for (int64_t side = 0; side < 2; ++side)
        targets[static_cast<size_t>(side * batch + row)] = example.targets[static_cast<size_t>(2 * row + side)];
      for (int64_t token = example.input.lengths[static_cast<size_t>(row)]; token < length; ++token)
        padding.mutable_data<float>()[row * length + token] = kOfPadding;
    }
    ops::add(run, padding.expand({2, batch, length}), logits);
    return ops::cross_entropy(run, logits.reshape({2 * batch, length}), targets, {.divisor = divisor});
  }

  std::vector<std::string> metric_names() const override { return {"f1", "exact", "f1_answerable", "f1_unanswerable"}; }
  std::vector<double> predictions(const RunResult& result, const Example& example) const override {
    std::vector<double> out;
    for (size_t row = 0; row < example.numbers.size(); ++row) {
      const float* logits = result.class_logits.data<float>() + static_cast<int64_t>(row) * example.input.length * 2;
      const WindowAnswer found = best_span(windows_[static_cast<size_t>(example.numbers[row])].tokens, logits, settings_.longest);
      out.insert(out.end(), {found.score, found.null_score, static_cast<double>(found.begin), static_cast<double>(found.end)});
    }
    return out;
  }
  std::vector<double> metrics(const std::vector<Example>& examples, const std::vector<std::vector<double>>& predictions) const override {
    std::unordered_map<size_t, std::vector<WindowAnswer>> of_question;
    for (size_t at = 0; at < examples.size(); ++at) {
      for (size_t row = 0; row < examples[at].numbers.size(); ++row) {
        const double* said = predictions[at].data() + 4 * row;
        of_question[windows_[static_cast<size_t>(examples[at].numbers[row])].question].push_back(
            {.score = said[0], .null_score = said[1], .begin = static_cast<int64_t>(said[2]), .end = static_cast<int64_t>(said[3])});
      }
    }
    std::vector<Judged> judged;
    for (const auto& [number, windows] : of_question) {
      const Question& question = questions_[number];
      const TextAnswer best = together(windows, 0);
      judged.push_back(
          {number,
           best.null_score - best.score,
           {question.context->substr(static_cast<size_t>(best.begin), static_cast<size_t>(best.end - best.begin)), question.answers}});
    }
    std::sort(judged.begin(), judged.end(), [](const Judged& a, const Judged& b) {
      return a.difference != b.difference ? a.difference < b.difference : a.number < b.number;
    });
    if (!threshold_) best_threshold_ = best_threshold(judged);
    std::vector<metrics::AnsweredQuestion> answered;
    for (Judged& one : judged) {
      if (one.difference > threshold()) one.answer.prediction.clear();
      answered.push_back(std::move(one.answer));
    }
    const metrics::AnswerScores scores = metrics::squad2(answered);
    return {scores.all.f1 / 100, scores.all.exact / 100, scores.has_answer.f1 / 100, scores.no_answer.f1 / 100};
  }
  Measured measured(const std::vector<Example>& examples) const override {
    std::vector<size_t> questions;
    for (const Example& example : examples) {
      for (const int64_t number : example.numbers) questions.push_back(windows_[static_cast<size_t>(number)].question);
    }
    std::sort(questions.begin(), questions.end());
    return {std::unique(questions.begin(), questions.end()) - questions.begin(), "questions"};
  }
  void describe(Json& config) const override {
    config["answers"] = Json::object(
        {{"window", settings_.window}, {"overlap", settings_.overlap}, {"longest", settings_.longest}, {"threshold", threshold()}});
  }

 private:
  static constexpr float kOfPadding = -1e9F;
  struct Window {
    Encoding tokens;
    size_t question;
  };
  struct Judged {
    size_t number;
    double difference;  // null score − score
    metrics::AnsweredQuestion answer;
  };

  double threshold() const { return threshold_.value_or(best_threshold_); }

  // judged: sorted by ascending difference
  static double best_threshold(const std::vector<Judged>& judged) {
    const auto f1 = [](metrics::AnsweredQuestion one) { return metrics::squad2({&one, 1}).all.f1; };
    double sum = 0, best = 0, out = judged.empty() ? 0 : judged.front().difference - 1;  // so low that every question is unanswered
    for (size_t at = 0; at < judged.size(); ++at) {
      sum += f1(judged[at].answer) - f1({"", judged[at].answer.answers});
      const bool is_last = at + 1 == judged.size();
      if (sum <= best || (!is_last && judged[at + 1].difference == judged[at].difference)) continue;
      best = sum;
      out = is_last ? judged[at].difference + 1 : (judged[at].difference + judged[at + 1].difference) / 2;
    }
    return out;
  }

  static bool holds_answer(const Item& window) { return window.targets.back() > 0; }

  // Called by ItemTask when a file is first needed.
  std::vector<Item> items_of(const std::string& file, DataSummary& summary) {
    std::vector<Item> out;
    summary.of = "questions";
    int64_t without_answer = 0, in_no_window = 0;
    for (Question& question : files_.questions(file)) {
      ++summary.count;
      const size_t before = out.size();
      for (Encoding& window : answer_windows(tokenizer_, question.text, *question.context, settings_)) {
        out.push_back({window.ids, window.type_ids, targets_of(window, question.span), {}, static_cast<int64_t>(windows_.size())});
        out.back().group = static_cast<int64_t>(questions_.size());
        windows_.push_back({std::move(window), questions_.size()});
      }
      const bool is_found = std::any_of(out.begin() + static_cast<std::ptrdiff_t>(before), out.end(), &holds_answer);
      without_answer += question.answers.empty() ? 1 : 0;
      in_no_window += !question.answers.empty() && !is_found ? 1 : 0;
      questions_.push_back(std::move(question));
    }
    summary.note(format("windows of at most {} tokens", with_commas(settings_.window)), static_cast<int64_t>(out.size()));
    summary.note("questions without an answer", without_answer);
    summary.note("questions whose answer does not fit into one window, treated as questions without an answer", in_no_window);
    const auto answerable_first = recipe_.task->as<AnswerRecipe>().answerable_first;
    if (file == recipe_.task->train && answerable_first > 0 && std::none_of(out.begin(), out.end(), &holds_answer)) {
      fail(ErrorCode::kInvalidArgument, "{}: \"task.answerable_first\" is {}, but no window of {} contains an answer; set it to 0",
           recipe_.where, answerable_first, file);
    }
    return out;
  }

  const Tokenizer& tokenizer_;
  AnswerFiles files_;
  AnswerSettings settings_;
  std::optional<double> threshold_;
  const Recipe& recipe_;
  mutable std::optional<ItemBatches> answerable_{};
  mutable double best_threshold_ = 0;
  // From all files that were read. An item's number is the index of its window.
  std::vector<Question> questions_;
  std::vector<Window> windows_;
};

}  // namespace

const TaskDefinition& question_answering_task() {
  static const TaskDefinition definition = {
      .name = "question-answering",
      .description = "a span of a text, or none, as the answer to a question",
      .class_suffix = "ForQuestionAnswering",
      .has_sequence_targets = true,
      .fields = [] { return recipe_schema().describe(); },
      .read =
          [](Fields& fields, Recipe& to) {
            read_settings(recipe_schema(), fields, to);
            to.length = 256;
          },
      .commands = {{"answer", "--question \"…\" \"…\""}},
      .labels =
          [](const Recipe&) {
            return std::vector<std::string>{"start", "end"};
          },
      .adopt =
          [](const ModelInfo& model, Recipe& to) {
            auto settings = to.task->as<AnswerRecipe>();
            if (model.answers) settings.threshold = model.answers->threshold;
            to.task->settings = settings;
          },
      .make = make_task<Answer>,
  };
  return definition;
}

}  // namespace clearhead::tasks
