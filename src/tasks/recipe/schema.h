// Fields of a recipe, declared as tables.
//
//   const Schema<EntropyRecipe>& entropy_schema() {
//     static const Schema<EntropyRecipe> schema = {
//         number("weight", &EntropyRecipe::weight, {-1000, 1000}, "factor of the mean entropy in nats"),
//         string("family", &EntropyRecipe::family, "the attention family that the loss applies to"),
//     };
//     return schema;
//   }
//
// One row states a field's name, the values that it accepts, and its meaning; its default is the member's value in a default-constructed
// struct. The reader, its error messages, `clearhead train --fields` and the reference, docs/recipe-fields.md, come from these rows.
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/format.h"
#include "base/json.h"

namespace clearhead::tasks {

/// One row of the reference: "schedule.learning_rate", "a number from 0 to 100", "0.001", "…".
struct FieldDescription {
  std::string name{}, accepts{}, fallback{}, meaning{};  // fallback: "required" if the field must be given
};

template <class T>
class Schema {
 public:
  struct Field {
    FieldDescription description;
    std::function<void(Fields&, T&)> read;
    std::vector<FieldDescription> nested;   // rows of an object's fields, without the object's name
    std::function<bool(const T&)> applies;  // absent: always. A field that does not apply is refused as unknown.

    Field(FieldDescription row, std::function<void(Fields&, T&)> reader, std::vector<FieldDescription> rows = {},
          std::function<bool(const T&)> condition = {})
        : description(std::move(row)), read(std::move(reader)), nested(std::move(rows)), applies(std::move(condition)) {}
    /// The same field, which applies only if `condition` holds for the fields above it.
    Field when(std::function<bool(const T&)> condition) && {
      applies = std::move(condition);
      return std::move(*this);
    }
    /// The same field with another description of its default, for defaults that depend on other fields.
    Field with_fallback(std::string text) && {
      description.fallback = std::move(text);
      return std::move(*this);
    }
  };

  Schema(std::initializer_list<Field> fields) : fields_(fields) {}
  /// The fields of several tables, in this order.
  explicit Schema(std::initializer_list<std::vector<Field>> tables) {
    for (const std::vector<Field>& table : tables) fields_.insert(fields_.end(), table.begin(), table.end());
  }

  /// Reads every field that applies, in order. Fields that the object lacks keep their value in `to`.
  /// Throws kFormat for a value that a field does not accept, with the field's path.
  void read(Fields& from, T& to) const {
    for (const Field& field : fields_) {
      if (!field.applies || field.applies(to)) field.read(from, to);
    }
  }
  /// Reads a whole object. path: the object's path within the recipe, for messages. Throws kUnsupported for a field that is not
  /// declared.
  T read(const Json& object, const std::string& where, const std::string& path) const {
    Fields from(object, where, path);
    T out{};
    read(from, out);
    from.refuse_rest();
    return out;
  }
  /// The rows of the reference, including those of nested objects.
  std::vector<FieldDescription> describe() const {
    std::vector<FieldDescription> out;
    for (const Field& field : fields_) {
      out.push_back(field.description);
      for (FieldDescription row : field.nested) {
        row.name = field.description.name + "." + row.name;
        out.push_back(std::move(row));
      }
    }
    return out;
  }

 private:
  std::vector<Field> fields_;
};

namespace schema {

// Reading and describing single values; the templates below wrap them.
struct IntegerRange {
  int64_t least = 0, most = int64_t{1} << 40;  // with this limit, sums of a few values do not overflow
};
struct NumberRange {
  double least = 0, most = 1;
};
std::string describe(IntegerRange range);
std::string describe(NumberRange range);
int64_t read_integer(Fields& fields, const char* name, int64_t otherwise, IntegerRange range);
double read_number(Fields& fields, const char* name, double otherwise, NumberRange range);
/// A file name, or a list of file names. Absent: {}.
std::vector<std::string> read_files(Fields& fields, const char* name, bool is_required);
/// A column of a table, counted from 1, or the name of a column or of a field of JSON lines; "" if absent.
std::string read_column(Fields& fields, const char* name, bool is_required);
/// "a, b or c"
std::string alternatives(const std::vector<std::string>& names);
/// The default of a text field for the reference: "none" for "".
std::string shown(const std::string& text);

template <class T>
using Field = typename Schema<T>::Field;

template <class T>
Field<T> integer(const char* name, int64_t T::*member, IntegerRange range, const char* meaning) {
  return {{name, describe(range), format("{}", T{}.*member), meaning},
          [=](Fields& fields, T& to) { to.*member = read_integer(fields, name, to.*member, range); }};
}

template <class T>
Field<T> number(const char* name, double T::*member, NumberRange range, const char* meaning) {
  return {{name, describe(range), format("{}", T{}.*member), meaning},
          [=](Fields& fields, T& to) { to.*member = read_number(fields, name, to.*member, range); }};
}

template <class T>
Field<T> optional_number(const char* name, std::optional<double> T::*member, NumberRange range, const char* fallback, const char* meaning) {
  return {{name, describe(range), fallback, meaning}, [=](Fields& fields, T& to) {
            const Json* given = fields.take(name);
            if (given && !given->is_number()) fields.wrong(name, describe(range), *given);
            if (given) to.*member = read_number(fields, name, 0, range);
          }};
}

template <class T>
Field<T> boolean(const char* name, bool T::*member, const char* meaning) {
  return {{name, "true or false", T{}.*member ? "true" : "false", meaning},
          [=](Fields& fields, T& to) { to.*member = fields.boolean_or(name, to.*member); }};
}

template <class T>
Field<T> string(const char* name, std::string T::*member, const char* meaning) {
  return {{name, "a string", shown(T{}.*member), meaning}, [=](Fields& fields, T& to) { to.*member = fields.string_or(name, to.*member); }};
}

template <class T>
Field<T> required_string(const char* name, std::string T::*member, const char* meaning) {
  return {{name, "a string", "required", meaning}, [=](Fields& fields, T& to) { to.*member = fields.string(name); }};
}

template <class T>
Field<T> strings(const char* name, std::vector<std::string> T::*member, const char* fallback, const char* meaning) {
  return {{name, "a list of strings", fallback, meaning}, [=](Fields& fields, T& to) {
            if (fields.take(name)) to.*member = fields.strings(name);
          }};
}

template <class T>
Field<T> column(const char* name, std::string T::*member, bool is_required, const char* meaning) {
  return {{name, "a column's name or number, counted from 1", is_required ? "required" : shown(T{}.*member), meaning},
          [=](Fields& fields, T& to) {
            if (std::string given = read_column(fields, name, is_required); !given.empty()) to.*member = std::move(given);
          }};
}

template <class T>
Field<T> files(const char* name, std::vector<std::string> T::*member, bool is_required, const char* meaning) {
  return {{name, "a file, or a list of files", is_required ? "required" : "none", meaning},
          [=](Fields& fields, T& to) { to.*member = read_files(fields, name, is_required); }};
}

/// A list of one file or more.
template <class T>
Field<T> file_list(const char* name, std::vector<std::string> T::*member, const char* meaning) {
  return {{name, "a list of files", "required", meaning}, [=](Fields& fields, T& to) {
            to.*member = fields.strings(name);
            if ((to.*member).empty()) fields.wrong(name, "at least one file", Json::array());
          }};
}

/// One of several names, described in the given order. The default is the name of the member's default value.
template <class T, class Value>
Field<T> choice(const char* name, Value T::*member, std::vector<std::pair<std::string, Value>> values, const char* meaning) {
  std::vector<std::string> names;
  std::string fallback;
  for (const auto& [known, value] : values) {
    names.push_back(known);
    if (value == T{}.*member) fallback = known;
  }
  const std::string accepts = alternatives(names);
  return {{name, accepts, fallback, meaning}, [=](Fields& fields, T& to) {
            const Json* given = fields.take(name);
            if (!given) return;
            for (const auto& [known, value] : values) {
              if (given->is_string() && given->string() == known) return void(to.*member = value);
            }
            fields.wrong(name, accepts, *given);
          }};
}

/// A nested object with its own schema. Absent: the member keeps its value.
template <class T, class Member>
Field<T> object(const char* name, Member T::*member, const auto& nested, const char* meaning) {
  return {{name, "an object", "none", meaning},
          [=, &nested](Fields& fields, T& to) {
            if (const Json* given = fields.take(name)) to.*member = nested.read(*given, fields.where(), fields.path_of(name));
          },
          nested.describe()};
}

/// The same for an object that must be given.
template <class T, class Member>
Field<T> required_object(const char* name, Member T::*member, const auto& nested, const char* meaning) {
  return {{name, "an object", "required", meaning},
          [=, &nested](Fields& fields, T& to) { to.*member = nested.read(fields.require(name), fields.where(), fields.path_of(name)); },
          nested.describe()};
}

}  // namespace schema
}  // namespace clearhead::tasks
