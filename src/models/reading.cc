// One case for each kind of input: its ids or pixels, and the items of its maps.
#include "models/reading.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/file.h"
#include "base/format.h"
#include "base/json.h"
#include "clearhead/data.h"
#include "clearhead/error.h"

namespace clearhead {
namespace {

const Tokenizer& needed(const Tokenizer* tokenizer) {
  if (!tokenizer) fail(ErrorCode::kNotFound, "the model was loaded without a tokenizer, and reads words");
  return *tokenizer;
}

// Adds a text's ids, cut to what the network reads of one text. A text without tokens adds nothing.
void add_ids(const NetworkFacts& facts, const Tokenizer* tokenizer, const std::string& text, Reading& to) {
  std::vector<int32_t> ids = needed(tokenizer).encode(text).ids;
  if (ids.empty()) return;
  if (facts.longest > 0 && static_cast<int64_t>(ids.size()) > facts.longest) {
    ids.resize(static_cast<size_t>(facts.longest));
    ++to.cut;
  }
  to.sequences.push_back(std::move(ids));
}

Reading group_of(const NetworkFacts& facts, const Tokenizer* tokenizer, const std::vector<std::string>& texts, const char* what) {
  Reading out{.is_group = true};
  for (const std::string& text : texts) add_ids(facts, tokenizer, text, out);
  if (out.sequences.empty()) fail(ErrorCode::kInvalidArgument, "there is no {} with a word in it", what);
  return out;
}

Reading one_of(const NetworkFacts& facts, const Tokenizer* tokenizer, const std::string& text, const char* what) {
  Reading out;
  add_ids(facts, tokenizer, text, out);
  if (out.sequences.empty()) fail(ErrorCode::kInvalidArgument, "there is no {}", what);
  return out;
}

Reading picture_of(const NetworkFacts& facts, const Tensor& picture) {
  const PictureFacts& of = facts.picture;
  if (!picture.defined()) fail(ErrorCode::kInvalidArgument, "there is no picture");
  const Tensor values = picture.contiguous();
  if (!std::all_of(values.data<float>(), values.data<float>() + values.numel(), [](float value) { return std::isfinite(value); }))
    fail(ErrorCode::kInvalidArgument, "the picture has pixels that are NaN or infinite; expected numbers from 0 to 1");
  if (picture.rank() == 3 && picture.size(1) == of.height && picture.size(2) == of.width) {
    if (picture.size(0) == of.channels) return {.features = picture.contiguous()};
    if (picture.size(0) == 1) return {.features = picture.expand({of.channels, of.height, of.width}).contiguous()};
  }
  fail(ErrorCode::kShape, "the picture is {}; this model reads {} of {} x {} pixels, [channels, height, width]", to_string(picture.shape()),
       of.channels == 1 ? "grey ones" : format("{} channels", of.channels), of.height, of.width);
}

constexpr float kDecades = 8;  // of energy below the loudest that count

// A spectrogram as a picture, u8 [mels, items · frames, 3]: low frequencies at the bottom, black through red to light yellow.
Tensor spectrogram(const Tensor& frames, int64_t width) {
  constexpr float kColours[][3] = {{0, 0, 4}, {81, 18, 124}, {183, 55, 121}, {252, 137, 97}, {252, 253, 191}};
  const int64_t count = frames.size(0), mels = frames.size(1);
  Tensor out = Tensor::empty({mels, width, 3}, DType::kU8);
  auto* to = reinterpret_cast<uint8_t*>(out.mutable_raw());
  for (int64_t row = 0; row < mels; ++row) {
    for (int64_t t = 0; t < width; ++t) {
      const float value = t < count ? frames.data<float>()[t * mels + mels - 1 - row] : -1.0F;  // −1 … 1
      const float at = std::clamp((value + 1) * 2, 0.0F, 4.0F);
      const auto below = static_cast<size_t>(std::min(at, 3.0F));
      const float share = at - static_cast<float>(below);
      for (size_t c = 0; c < 3; ++c)
        *to++ = static_cast<uint8_t>(std::lround(kColours[below][c] + share * (kColours[below + 1][c] - kColours[below][c])));
    }
  }
  return out;
}

// u8 [height, width, 3]
Tensor as_bytes(const Tensor& picture) {
  const int64_t height = picture.size(1), width = picture.size(2);
  Tensor out = Tensor::empty({height, width, 3}, DType::kU8);
  auto* to = reinterpret_cast<uint8_t*>(out.mutable_raw());
  const Tensor dense = picture.contiguous();
  for (int64_t pixel = 0; pixel < height * width; ++pixel) {
    for (int64_t channel = 0; channel < 3; ++channel) {
      const float value = dense.data<float>()[std::min(channel, picture.size(0) - 1) * height * width + pixel];
      to[pixel * 3 + channel] = static_cast<uint8_t>(std::lround(std::clamp(value, 0.0F, 1.0F) * 255.0F));
    }
  }
  return out;
}

void add_item(RunText& text, const std::string& name, std::array<int64_t, 2> bytes) {
  text.ids.push_back(-1);
  text.offsets.push_back(bytes);
  text.special.push_back(0);
  text.pieces.push_back(name);
}

void add_items(RunText& text, const std::string& kind, const std::vector<std::array<int64_t, 2>>& bytes) {
  const auto begin = static_cast<int64_t>(text.ids.size());
  for (size_t at = 0; at < bytes.size(); ++at) add_item(text, bytes.size() == 1 ? kind : format("{} {}", kind, at + 1), bytes[at]);
  text.items.push_back({.kind = kind, .begin = begin, .end = static_cast<int64_t>(text.ids.size())});
}

void add_patches(RunText& text, const PictureFacts& facts, const Tensor& picture) {
  const auto begin = static_cast<int64_t>(text.ids.size());
  for (int64_t row = 0; row < facts.rows(); ++row) {
    for (int64_t column = 0; column < facts.columns(); ++column) add_item(text, format("patch {},{}", row + 1, column + 1), {});
  }
  text.items.push_back(
      {.kind = "patch", .begin = begin, .end = begin + facts.patches(), .rows = facts.rows(), .picture = as_bytes(picture)});
}

void append(RunText& text, const NetworkFacts& facts, const Tokenizer& tokenizer, const std::string& more) {
  Encoding encoding = tokenizer.encode(more);
  const auto shift = static_cast<int64_t>(text.text.size());
  text.text += more + "\n";
  for (size_t i = 0; i < encoding.size() && (facts.longest == 0 || static_cast<int64_t>(i) < facts.longest); ++i) {
    text.ids.push_back(encoding.ids[i]);
    const auto [begin, end] = encoding.offsets[i];
    text.offsets.push_back(begin == end ? std::array<int64_t, 2>{} : std::array{begin + shift, end + shift});
    text.special.push_back(encoding.is_special(i));
    text.pieces.emplace_back(tokenizer.token(encoding.ids[i]));
  }
}

template <class One>
void keep_latest(std::vector<One>& of, int64_t most) {
  if (const auto over = static_cast<int64_t>(of.size()) - most; most > 0 && over > 0) of.erase(of.begin(), of.begin() + over);
}

// Texts one below the other; the bytes of each that has a word.
std::vector<std::array<int64_t, 2>> append_group(RunText& text, const NetworkFacts& facts, const Tokenizer& tokenizer,
                                                 const std::vector<std::string>& texts) {
  std::vector<std::array<int64_t, 2>> bytes;
  for (const std::string& one : texts) {
    const size_t tokens = text.ids.size();
    const auto begin = static_cast<int64_t>(text.text.size());
    append(text, facts, tokenizer, one);
    if (text.ids.size() > tokens) bytes.push_back({begin, static_cast<int64_t>(text.text.size()) - 1});
  }
  return bytes;
}

void copy_padded(const std::vector<int32_t>& ids, int64_t length, int32_t pad, Rows& rows) {
  rows.ids.insert(rows.ids.end(), ids.begin(), ids.end());
  rows.ids.insert(rows.ids.end(), static_cast<size_t>(length) - ids.size(), pad);
  rows.lengths.push_back(static_cast<int32_t>(ids.size()));
}

// Sequences of frames, zeros behind their ends.
Rows frames_of(const std::vector<const Reading*>& readings) {
  Rows rows{.batch = static_cast<int64_t>(readings.size())};
  const int64_t width = readings.front()->features.size(1);
  for (const Reading* reading : readings) {
    rows.lengths.push_back(static_cast<int32_t>(reading->features.size(0)));
    rows.length = std::max(rows.length, reading->features.size(0));
  }
  rows.features = Tensor::zeros({rows.batch * rows.length, width});
  float* to = rows.features.mutable_data<float>();
  for (const Reading* reading : readings) {
    std::memcpy(to, reading->features.raw(), reading->features.bytes());
    to += rows.length * width;
  }
  return rows;
}

}  // namespace

int64_t Reading::size() const {
  int64_t tokens = !features.defined() ? 0 : features.rank() == 2 ? features.size(0) : 1;
  for (const std::vector<int32_t>& ids : sequences) tokens += static_cast<int64_t>(ids.size());
  return tokens;
}

Tensor read_picture(const ModelInfo& info, const std::string& path) {
  const std::string where = info.directory + "/config.json";
  const Json config = Json::parse(read_config(where), where);
  Fields fields(config, where);
  const PictureFacts size = picture_of(fields);
  return read_image(path, {size.channels, size.height, size.width});
}

ReadInput read_input(const NetworkFacts& facts, const Tokenizer* tokenizer, const ModelInput& input) {
  if (facts.reads == "document") return {.input = group_of(facts, tokenizer, input.texts, "sentence")};
  if (facts.reads == "story") {
    Reading story = group_of(facts, tokenizer, input.texts, "statement");
    const size_t told = story.sequences.size();
    keep_latest(story.sequences, facts.slots);
    story.left_out = static_cast<int64_t>(told - story.sequences.size());
    return {.input = one_of(facts, tokenizer, input.question, "question"), .source = std::move(story)};
  }
  if (facts.reads == "picture") return {.input = picture_of(facts, input.picture)};
  if (facts.reads == "scene")
    return {.input = one_of(facts, tokenizer, input.question, "question"), .source = picture_of(facts, input.picture)};
  if (facts.reads == "sound") return {.source = sound_of(facts, input.sound)};
  fail(ErrorCode::kUnsupported, "a model that reads a {} is not given inputs one by one", facts.reads);
}

Reading sound_of(const NetworkFacts& facts, const Sound& sound) {
  Tensor frames = log_mel(sound, facts.sound.mel);
  float* values = frames.mutable_data<float>();
  const float loudest = *std::max_element(values, values + frames.numel());
  for (int64_t at = 0; at < frames.numel(); ++at) values[at] = (std::max(values[at] - loudest, -kDecades) + kDecades / 2) / (kDecades / 2);
  return {.features = frames};
}

RunText with_frames(RunText target, const NetworkFacts& facts, const Tensor& frames) {
  const int64_t each = facts.sound.frames, items = (frames.size(0) + each - 1) / each, begin = static_cast<int64_t>(target.ids.size());
  const double seconds = static_cast<double>(each * facts.sound.mel.hop) / static_cast<double>(facts.sound.mel.rate);
  target.segments = {{"target", "text", 0, begin}};
  for (int64_t item = 0; item < items; ++item) add_item(target, format("{:.2f} s", static_cast<double>(item) * seconds), {});
  target.items.push_back({.kind = "frame", .begin = begin, .end = begin + items, .picture = spectrogram(frames, items * each)});
  return target;
}

WrittenText written_text(int32_t first, const std::vector<int32_t>& ids, const Tokenizer* tokenizer) {
  WrittenText out{.encoding = {.ids = {first}, .type_ids = {0}, .offsets = {{0, 0}}, .segment = {Encoding::kSpecial}}};
  for (const int32_t id : ids) {
    const bool is_special = tokenizer && tokenizer->is_special(id);
    const auto begin = static_cast<int64_t>(out.text.size());
    if (tokenizer && !is_special) out.text += tokenizer->token_bytes(id);
    out.encoding.ids.push_back(id);
    out.encoding.type_ids.push_back(0);
    out.encoding.offsets.push_back({begin, static_cast<int64_t>(out.text.size())});
    out.encoding.segment.push_back(is_special ? Encoding::kSpecial : 0);
  }
  return out;
}

RunText run_text_of(const NetworkFacts& facts, const Tokenizer* tokenizer, const ModelInput& input) {
  RunText text;
  if (facts.reads == "document") {
    const auto sentences = append_group(text, facts, needed(tokenizer), input.texts);
    add_items(text, "sentence", sentences);
    add_items(text, "document", {{0, static_cast<int64_t>(text.text.size()) - 1}});
  } else if (facts.reads == "story") {
    auto statements = append_group(text, facts, needed(tokenizer), input.texts);
    keep_latest(statements, facts.slots);  // the others are text, but no slots
    const auto of_question = static_cast<int64_t>(text.ids.size()), begin = static_cast<int64_t>(text.text.size());
    append(text, facts, *tokenizer, input.question);
    text.segments = {{"story", "text", 0, of_question}, {"question", "text", of_question, static_cast<int64_t>(text.ids.size())}};
    add_items(text, "slot", statements);
    add_items(text, "query", {{begin, static_cast<int64_t>(text.text.size()) - 1}});
  } else {
    if (facts.reads == "scene") {
      append(text, facts, needed(tokenizer), input.question);
      text.segments = {{"question", "text", 0, static_cast<int64_t>(text.ids.size())}};
    }
    add_patches(text, facts.picture, picture_of(facts, input.picture).features);
    add_items(text, "query", {{}});
  }
  if (!text.text.empty()) text.text.pop_back();  // the last line break
  return text;
}

Rows rows_of(const std::vector<const Reading*>& readings, int32_t pad) {
  Rows rows{.batch = static_cast<int64_t>(readings.size()), .length = 1};
  if (readings.empty()) return rows;
  const Reading& first = *readings.front();
  if (first.features.defined() && first.features.rank() == 2) return frames_of(readings);
  if (first.features.defined()) {
    Shape shape = first.features.shape();
    shape.insert(shape.begin(), rows.batch);
    rows.features = Tensor::empty(shape);
    for (size_t at = 0; at < readings.size(); ++at) {
      const Tensor& from = readings[at]->features;
      std::memcpy(rows.features.mutable_raw() + at * from.bytes(), from.raw(), from.bytes());
    }
    return rows;
  }
  int64_t most = 1;
  for (const Reading* reading : readings) {
    most = std::max(most, static_cast<int64_t>(reading->sequences.size()));
    for (const std::vector<int32_t>& ids : reading->sequences) rows.length = std::max(rows.length, static_cast<int64_t>(ids.size()));
  }
  if (first.is_group) rows.groups = {.batch = rows.batch, .length = most};
  rows.batch *= most;
  for (const Reading* reading : readings) {
    for (const std::vector<int32_t>& ids : reading->sequences) copy_padded(ids, rows.length, pad, rows);
    for (auto at = static_cast<int64_t>(reading->sequences.size()); at < most; ++at) copy_padded({}, rows.length, pad, rows);
    if (first.is_group) rows.groups.lengths.push_back(static_cast<int32_t>(reading->sequences.size()));
  }
  return rows;
}

std::vector<std::string> sentences_of(const std::string& text) {
  std::vector<std::string> out;
  std::string sentence;
  const auto end = [&] {
    const size_t begin = sentence.find_first_not_of(" \t\r");
    if (begin != std::string::npos) out.push_back(sentence.substr(begin));
    sentence.clear();
  };
  for (size_t at = 0; at < text.size(); ++at) {
    if (text[at] == '\n') {
      end();
      continue;
    }
    sentence += text[at];
    const bool closes = text[at] == '.' || text[at] == '!' || text[at] == '?';
    if (closes && at + 1 < text.size() && text[at + 1] == ' ') end();
  }
  end();
  return out;
}

}  // namespace clearhead
