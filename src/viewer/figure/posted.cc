// Accepts only the marks of drawing.h: all text that a page posts is parsed and escaped before it reaches the SVG renderer.
#include "viewer/figure/posted.h"

#include <array>
#include <cmath>

#include "base/base64.h"
#include "base/format.h"

namespace clearhead::viewer::figure {
namespace {

constexpr double kFarthest = 100'000;  // points; marks may lie outside the page
constexpr double kLargest = 500;       // points; maximum font size and line width

class Reader {
 public:
  explicit Reader(const PostedLimits& limits) : limits_(limits) {}

  Drawing drawing(const Json& json) {
    Fields fields(json, kWhere);
    Drawing out{.width = number(fields, "width", 1, limits_.points), .height = number(fields, "height", 1, limits_.points)};
    out.title = text(fields, "title");
    out.description = text(fields, "description");
    const Json::Array& marks = fields.items("marks");
    check("marks", static_cast<int64_t>(marks.size()), limits_.marks);
    out.marks.reserve(marks.size());
    for (size_t at = 0; at < marks.size(); ++at) {
      Fields mark(marks[at], kWhere, format("marks[{}]", at));
      out.marks.push_back(mark_of(mark));
      mark.refuse_rest();
    }
    fields.refuse_rest();
    return out;
  }

 private:
  static constexpr const char* kWhere = "api/pdf";

  static void check(const char* what, int64_t found, int64_t most) {
    if (found > most) fail(ErrorCode::kInvalidArgument, "{}: {} {}; at most {}", kWhere, found, what, most);
  }

  // A value of "kind" and the function that reads the other fields of such a mark. A new kind needs one entry here and one function.
  struct Kind {
    const char* name;
    Mark (Reader::*read)(Fields&);
  };
  static const std::array<Kind, 5> kKinds;

  Mark mark_of(Fields& fields) {
    const std::string name = fields.string("kind");
    std::string known;
    for (const Kind& kind : kKinds) {
      if (name == kind.name) return (this->*kind.read)(fields);
      known += format("{}{}", known.empty() ? "" : &kind == &kKinds.back() ? " or " : ", ", kind.name);
    }
    fail(ErrorCode::kUnsupported, "{}: \"{}\": \"{}\" is not understood; expected {}", kWhere, fields.path_of("kind"), name, known);
  }

  Mark box(Fields& fields) {
    return Box{.area = area(fields), .fill = colour(fields, "fill"), .stroke = colour(fields, "stroke"), .line = line(fields)};
  }

  Mark pointer(Fields& fields) { return Pointer{place(fields, "x"), place(fields, "y")}; }

  Mark curve(Fields& fields) {
    Curve out{.x0 = place(fields, "x0"), .y0 = place(fields, "y0"), .x1 = place(fields, "x1"), .y1 = place(fields, "y1")};
    out.stroke = colour(fields, "stroke").value_or(kInk);
    out.line = line(fields);
    out.opacity = number_or(fields, "opacity", out.opacity, 0, 1);
    out.bent = fields.boolean_or("bent", false);
    return out;
  }

  Mark words(Fields& fields) {
    check("texts", ++texts_, limits_.texts);
    Text out{.x = place(fields, "x"), .y = place(fields, "y"), .text = text(fields, "text")};
    if (const auto bytes = static_cast<int64_t>(out.text.size()); bytes > limits_.text_bytes)
      fail(ErrorCode::kInvalidArgument, "{}: \"{}\": found {} bytes; expected at most {} in one text", kWhere, fields.path_of("text"),
           bytes, limits_.text_bytes);
    out.size = number_or(fields, "size", out.size, 0.1, kLargest);
    const std::string anchor = fields.string_or("anchor", "start");
    if (anchor != "start" && anchor != "middle" && anchor != "end")
      fail(ErrorCode::kFormat, "{}: \"{}\": expected start, middle or end, found \"{}\"", kWhere, fields.path_of("anchor"), anchor);
    out.anchor = anchor == "start" ? Anchor::kStart : anchor == "middle" ? Anchor::kMiddle : Anchor::kEnd;
    out.colour = colour(fields, "colour").value_or(out.colour);
    out.bold = fields.boolean_or("bold", false);
    out.turn = number_or(fields, "turn", 0, -360, 360);
    return out;
  }

  Mark pixels(Fields& fields) {
    Pixels out{.area = area(fields), .width = fields.integer("width"), .height = fields.integer("height")};
    const std::string rgb = from_base64(fields.string("rgb"), fields.where() + ": " + fields.path_of("rgb"));
    if (out.width < 1 || out.height < 1 || out.width > limits_.pixels || out.height > limits_.pixels)
      fail(ErrorCode::kInvalidArgument, "{}: \"{}\": a picture of {} x {} pixels; expected 1 to {} in all", kWhere, fields.path_of("width"),
           out.width, out.height, limits_.pixels);
    check("pixels", pixels_ += out.width * out.height, limits_.pixels);
    if (rgb.size() != static_cast<size_t>(3 * out.width * out.height))
      fail(ErrorCode::kFormat, "{}: \"{}\": {} bytes; a picture of {} x {} pixels has {}", kWhere, fields.path_of("rgb"), rgb.size(),
           out.width, out.height, 3 * out.width * out.height);
    out.rgb.assign(rgb.begin(), rgb.end());
    return out;
  }

  Area area(Fields& fields) {
    Fields of(fields.require("area"), kWhere, fields.path_of("area"));
    const Area out{place(of, "left"), place(of, "top"), number(of, "width", 0, kFarthest), number(of, "height", 0, kFarthest)};
    of.refuse_rest();
    return out;
  }

  // A list of three levels, 0 to 255; null or absent: no colour.
  std::optional<Rgb> colour(Fields& fields, const char* name) {
    const Json* found = fields.take(name);
    if (!found || found->is_null()) return std::nullopt;
    std::array<uint8_t, 3> levels{};
    bool is_right = found->is_array() && found->size() == 3;
    for (size_t c = 0; is_right && c < 3; ++c) {
      const Json& level = found->items()[c];
      is_right = level.is_number() && level.number() >= 0 && level.number() <= 255;
      if (is_right) levels[c] = static_cast<uint8_t>(std::lround(level.number()));
    }
    if (!is_right) fields.wrong(name, "a list of three numbers from 0 to 255", *found);
    return Rgb{levels[0], levels[1], levels[2]};
  }

  std::string text(Fields& fields, const char* name) {
    std::string out = fields.string_or(name, "");
    check("bytes of text", letters_ += static_cast<int64_t>(out.size()), limits_.letters);
    return out;
  }

  static double within(Fields& fields, const char* name, double found, double least, double most) {
    if (!(found >= least && found <= most))
      fail(ErrorCode::kInvalidArgument, "{}: \"{}\": {}; expected {} to {}", kWhere, fields.path_of(name), found, least, most);
    return found;
  }
  double number(Fields& fields, const char* name, double least, double most) {
    return within(fields, name, fields.number(name), least, most);
  }
  double number_or(Fields& fields, const char* name, double otherwise, double least, double most) {
    return within(fields, name, fields.number_or(name, otherwise), least, most);
  }
  double place(Fields& fields, const char* name) { return number(fields, name, -kFarthest, kFarthest); }
  double line(Fields& fields) { return number_or(fields, "line", 0.75, 0, kLargest); }

  const PostedLimits& limits_;
  int64_t texts_ = 0, letters_ = 0, pixels_ = 0;
};

const std::array<Reader::Kind, 5> Reader::kKinds = {{{"box", &Reader::box},
                                                     {"curve", &Reader::curve},
                                                     {"text", &Reader::words},
                                                     {"pixels", &Reader::pixels},
                                                     {"pointer", &Reader::pointer}}};

}  // namespace

Drawing drawing_from_json(const Json& json, const PostedLimits& limits) { return Reader(limits).drawing(json); }

}  // namespace clearhead::viewer::figure
