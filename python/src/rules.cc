// Bindings of rules. A Python lambda is called once with symbols, whose operators record an expression (clearhead/rule.h).
//
//   ch.rule(lambda s, b, h, i, j: s - 0.1 * abs(i - j))            ch.visible(lambda b, h, i, j: (i - j) % 3 == 0)
//
// If Python needs the truth value or the number of a symbol (`and`, `if`, an array index), an error names the replacement.
#include "clearhead/rule.h"

#include <nanobind/nanobind.h>
#include <nanobind/stl/optional.h>

#include <cmath>
#include <optional>
#include <string>

#include "arrays.h"
#include "base/format.h"
#include "clearhead/error.h"
#include "clearhead/spec.h"
#include "module.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace clearhead::python {
namespace {

RuleValue number_of(const RuleTruth& truth) { return where(truth, RuleValue(1), RuleValue(0)); }

// Converts a symbol, a condition (to 1 or 0) or any Python number. Returns nullopt for arrays and everything else.
std::optional<RuleValue> as_number(nb::handle given) {
  if (nb::isinstance<RuleValue>(given)) return nb::cast<RuleValue>(given);
  if (nb::isinstance<RuleTruth>(given)) return number_of(nb::cast<RuleTruth>(given));
  const nb::object axes = nb::getattr(given, "ndim", nb::int_(0));
  if (!nb::isinstance<nb::int_>(axes) || nb::cast<int>(axes) != 0 || nb::isinstance<nb::str>(given)) return std::nullopt;
  const double number = PyFloat_AsDouble(given.ptr());
  if (number == -1.0 && PyErr_Occurred()) {
    PyErr_Clear();
    return std::nullopt;
  }
  return RuleValue(number);
}

std::optional<RuleTruth> as_truth(nb::handle given) {
  if (nb::isinstance<RuleTruth>(given)) return nb::cast<RuleTruth>(given);
  if (nb::isinstance<nb::bool_>(given)) return RuleTruth(nb::cast<bool>(given));
  return std::nullopt;
}

RuleValue number(nb::handle given, const char* of) {
  const std::optional<RuleValue> found = as_number(given);
  if (!found) {
    fail(ErrorCode::kInvalidArgument, "{}: a {} cannot be used in a rule; expected a number, s, b, h, i, j, or an expression of them", of,
         nb::cast<std::string>(nb::str(given.type().attr("__name__"))));
  }
  return *found;
}

nb::object not_implemented() { return nb::borrow(Py_NotImplemented); }

// Defines a binary operator and its reflected form, which Python calls if the symbol is the right operand.
template <class Apply>
void binary(nb::class_<RuleValue>& symbol, const char* name, const char* reflected, const Apply& apply) {
  symbol.def(name, [apply](const RuleValue& a, nb::handle b) {
    const std::optional<RuleValue> other = as_number(b);
    return other ? nb::cast(apply(a, *other)) : not_implemented();
  });
  if (!reflected) return;
  symbol.def(reflected, [apply](const RuleValue& b, nb::handle a) {
    const std::optional<RuleValue> other = as_number(a);
    return other ? nb::cast(apply(*other, b)) : not_implemented();
  });
}

RuleValue power(const RuleValue& base, double exponent) {
  if (exponent == 0.5) return sqrt(base);
  if (exponent != std::floor(exponent) || std::abs(exponent) > 64) {
    fail(ErrorCode::kInvalidArgument, "rule: x ** {}: expected a whole number or 0.5; write ch.exp({} * ch.log(x)) for x > 0", exponent,
         exponent);
  }
  RuleValue out(1), square = base;
  for (auto left = static_cast<int>(std::abs(exponent)); left > 0; left /= 2) {
    if (left % 2 == 1) out = out * square;
    if (left > 1) square = square * square;
  }
  return exponent < 0 ? RuleValue(1) / out : out;
}

[[noreturn]] void no_truth() {
  fail(ErrorCode::kInvalidArgument,
       "rule: a symbol has no truth value, because a rule is recorded once, for all pairs. Write (a) & (b) for and, (a) | (b) for or, "
       "~(a) for not, (a < b) & (b < c) for a < b < c, ch.where(condition, yes, no) for if, ch.minimum and ch.maximum for min and max");
}

[[noreturn]] void no_value() {
  fail(ErrorCode::kInvalidArgument,
       "rule: a symbol cannot be converted to a number, because a rule is recorded once, for all pairs. To index an array, write "
       "ch.table(array)[h]; the functions are ch.exp, ch.log, ch.tanh, ch.sqrt, ch.floor");
}

void add_numbers(nb::module_& module) {
  nb::class_<RuleValue> symbol(
      module, "RuleValue",
      "Symbolic number inside a rule: the score, a position, or an expression of them. Supports + - * / // % **, abs(), "
      "comparisons and the functions for rules (exp, log, tanh, sqrt, floor, minimum, maximum, where).");
  binary(symbol, "__add__", "__radd__", [](RuleValue a, RuleValue b) { return a + b; });
  binary(symbol, "__sub__", "__rsub__", [](RuleValue a, RuleValue b) { return a - b; });
  binary(symbol, "__mul__", "__rmul__", [](RuleValue a, RuleValue b) { return a * b; });
  binary(symbol, "__truediv__", "__rtruediv__", [](RuleValue a, RuleValue b) { return a / b; });
  binary(symbol, "__floordiv__", "__rfloordiv__", [](RuleValue a, RuleValue b) { return floor(a / b); });
  binary(symbol, "__mod__", "__rmod__",
         [](RuleValue a, RuleValue b) { return a - b * floor(a / b); });  // the result has the sign of b, as in Python
  binary(symbol, "__lt__", nullptr, [](RuleValue a, RuleValue b) { return a < b; });
  binary(symbol, "__le__", nullptr, [](RuleValue a, RuleValue b) { return a <= b; });
  binary(symbol, "__gt__", nullptr, [](RuleValue a, RuleValue b) { return a > b; });
  binary(symbol, "__ge__", nullptr, [](RuleValue a, RuleValue b) { return a >= b; });
  binary(symbol, "__eq__", nullptr, [](RuleValue a, RuleValue b) { return a == b; });
  binary(symbol, "__ne__", nullptr, [](RuleValue a, RuleValue b) { return a != b; });
  symbol.def("__pow__", &power, "exponent"_a)
      .def("__neg__", [](const RuleValue& x) { return -x; })
      .def("__pos__", [](const RuleValue& x) { return x; })
      .def("__abs__", [](const RuleValue& x) { return abs(x); })
      .def("__floor__", [](const RuleValue& x) { return floor(x); })
      .def("__bool__", [](const RuleValue&) -> bool { no_truth(); })
      .def("__index__", [](const RuleValue&) -> int { no_value(); })
      .def("__float__", [](const RuleValue&) -> double { no_value(); })
      .def("__repr__", [](const RuleValue&) { return "clearhead.RuleValue (a symbol inside a rule)"; });
  symbol.attr("__array_ufunc__") = nb::none();  // numpy scalars defer the operator to the symbol
  symbol.attr("__hash__") = nb::none();
}

void add_truths(nb::module_& module) {
  nb::class_<RuleTruth> symbol(
      module, "RuleTruth", "Symbolic condition inside a rule, the result of a comparison. Supports & | ~ ^. In arithmetic it is 1 or 0.");
  const auto both = [](RuleTruth a, RuleTruth b) { return a && b; };
  const auto any = [](RuleTruth a, RuleTruth b) { return a || b; };
  const auto one = [](RuleTruth a, RuleTruth b) { return (a && !b) || (!a && b); };
  const auto truths = [&](const char* name, const char* reflected, const auto& apply) {
    for (const char* at : {name, reflected}) {
      symbol.def(at, [apply](const RuleTruth& a, nb::handle b) {
        const std::optional<RuleTruth> other = as_truth(b);
        return other ? nb::cast(apply(a, *other)) : not_implemented();
      });
    }
  };
  truths("__and__", "__rand__", both);
  truths("__or__", "__ror__", any);
  truths("__xor__", "__rxor__", one);
  symbol.def("__invert__", [](const RuleTruth& x) { return !x; });
  const auto numbers = [&](const char* name, bool is_reflected, const auto& apply) {
    symbol.def(name, [apply, is_reflected](const RuleTruth& a, nb::handle b) {
      const std::optional<RuleValue> other = as_number(b);
      if (!other) return not_implemented();
      return nb::cast(is_reflected ? apply(*other, number_of(a)) : apply(number_of(a), *other));
    });
  };
  for (const bool reflected : {false, true}) {
    numbers(reflected ? "__radd__" : "__add__", reflected, [](RuleValue a, RuleValue b) { return a + b; });
    numbers(reflected ? "__rsub__" : "__sub__", reflected, [](RuleValue a, RuleValue b) { return a - b; });
    numbers(reflected ? "__rmul__" : "__mul__", reflected, [](RuleValue a, RuleValue b) { return a * b; });
  }
  symbol.def("__bool__", [](const RuleTruth&) -> bool { no_truth(); }).def("__repr__", [](const RuleTruth&) {
    return "clearhead.RuleTruth (a symbol inside a rule)";
  });
  symbol.attr("__array_ufunc__") = nb::none();
}

void add_functions(nb::module_& module) {
  const auto of_one = [&](const char* name, const char* about, RuleValue (*apply)(RuleValue)) {
    module.def(
        name, [apply, name](nb::handle x) { return apply(number(x, name)); }, "x"_a, about);
  };
  of_one("exp", "Exponential e**x, for use inside a rule.", [](RuleValue x) { return exp(x); });
  of_one("log", "Natural logarithm, for use inside a rule.", [](RuleValue x) { return log(x); });
  of_one("tanh", "Hyperbolic tangent, for use inside a rule.", [](RuleValue x) { return tanh(x); });
  of_one("sqrt", "Square root, for use inside a rule.", [](RuleValue x) { return sqrt(x); });
  of_one("floor", "Largest integer that is at most x, for use inside a rule.", [](RuleValue x) { return floor(x); });
  module.def(
      "minimum", [](nb::handle a, nb::handle b) { return min(number(a, "minimum"), number(b, "minimum")); }, "a"_a, "b"_a,
      "The smaller of two numbers, for use inside a rule.");
  module.def(
      "maximum", [](nb::handle a, nb::handle b) { return max(number(a, "maximum"), number(b, "maximum")); }, "a"_a, "b"_a,
      "The larger of two numbers, for use inside a rule.");
  module.def(
      "where",
      [](nb::handle condition, nb::handle yes, nb::handle no) {
        const std::optional<RuleTruth> truth = as_truth(condition);
        if (!truth) fail(ErrorCode::kInvalidArgument, "where: expected a comparison as the condition, as in h == 0");
        return where(*truth, number(yes, "where"), number(no, "where"));
      },
      "condition"_a, "yes"_a, "no"_a, "`yes` if the condition holds, else `no`; for use inside a rule.");
}

RuleValue look_up(const RuleTable& table, const nb::object& given) {
  const nb::tuple at = nb::isinstance<nb::tuple>(given) ? nb::borrow<nb::tuple>(given) : nb::make_tuple(given);
  const auto index = [&](size_t axis) { return number(at[axis], "table"); };
  switch (at.size()) {
    case 1: return table(index(0));
    case 2: return table(index(0), index(1));
    case 3: return table(index(0), index(1), index(2));
    case 4: return table(index(0), index(1), index(2), index(3));
    default: fail(ErrorCode::kShape, "table: {} indices; expected 1 to 4", at.size());
  }
}

// Calls the lambda. numpy raises its own IndexError if a symbol indexes an array; the message is extended by what to write instead.
template <class... Symbols>
nb::object called(const nb::callable& body, const Symbols&... symbols) {
  try {
    return body(symbols...);
  } catch (nb::python_error& problem) {
    if (!problem.matches(PyExc_IndexError)) throw;
    fail(ErrorCode::kInvalidArgument, "rule: {}. To index an array by symbols, write ch.table(array)[h]",
         nb::cast<std::string>(nb::str(problem.value())));
  }
}

Rule record_rule(const nb::callable& body) {
  return rule([&](RuleValue score, RulePair at) {
    const nb::object made = called(body, score, at.batch, at.head, at.query, at.key);
    const std::optional<RuleValue> found = as_number(made);
    if (!found) {
      fail(ErrorCode::kInvalidArgument, "rule: the lambda returned a {}; expected the new score of the pair",
           nb::cast<std::string>(nb::str(made.type().attr("__name__"))));
    }
    return *found;
  });
}

Topology record_visible(const nb::callable& body) {
  return {.visible = visible([&](RulePair at) {
            const nb::object made = called(body, at.batch, at.head, at.query, at.key);
            const std::optional<RuleTruth> found = as_truth(made);
            if (!found) {
              fail(ErrorCode::kInvalidArgument, "visible: the lambda returned a {}; expected a condition, such as j <= i",
                   nb::cast<std::string>(nb::str(made.type().attr("__name__"))));
            }
            return *found;
          })};
}

// Predefined terms and topologies.
void add_library(nb::module_& module) {
  module.def(
      "t5_bias",
      [](const nb::object& weights, bool bidirectional, int64_t max_distance) {
        return t5_bias(tensor_of(weights, "t5_bias.weights"), bidirectional, max_distance);
      },
      "weights"_a, "bidirectional"_a, "max_distance"_a = 128,
      "T5's relative position bias, as a term: s + weights[bucket(j - i), head] (Raffel et al. 2020, section 2.1).\n\n"
      "weights: f32 [bucket, head]. bidirectional: separate buckets for keys before and after the query. max_distance: distances\n"
      "from here on share the last bucket.");
  module.def(
      "temperature",
      [](const nb::object& t) {
        if (nb::isinstance<nb::float_>(t) || nb::isinstance<nb::int_>(t)) return temperature(nb::cast<float>(t));
        return temperature(tensor_of(t, "temperature"));
      },
      "t"_a, "Temperature, as a term: s / t. t: a number, or f32 [head].");
  module.def(
      "alibi_2d", [](const nb::object& slopes, int64_t width) { return alibi_2d(tensor_of(slopes, "alibi_2d.slopes"), width); }, "slopes"_a,
      "width"_a, "Two-dimensional ALiBi, as a term: s - slope * distance in an image with `width` patches per row. slopes: f32 [head].");
  module.def(
      "relative_2d",
      [](const nb::object& table, int64_t height, int64_t width) {
        return relative_2d(tensor_of(table, "relative_2d.table"), height, width);
      },
      "table"_a, "height"_a, "width"_a,
      "Relative position bias of Swin, as a term (Liu et al. 2021, equation 4). table: f32 [head, 2 * height - 1, 2 * width - 1].");
  module.def(
      "dilated", [](int64_t step, int64_t back) { return Topology{.visible = dilated(step, back)}; }, "step"_a, "back"_a,
      "Dilated window: a query sees its own key and `back` keys before it, at a spacing of `step`.");
  module.def(
      "prefix_lm",
      [](const nb::object& prefix) {
        if (nb::isinstance<nb::int_>(prefix)) return Topology{.visible = prefix_lm(nb::cast<int64_t>(prefix))};
        return Topology{.visible = prefix_lm(indices_of(prefix, "prefix_lm"))};
      },
      "prefix"_a, "Prefix language model: causal, and all queries see the first `prefix` keys. prefix: a number, or int [batch].");
  module.def(
      "strided", [](int64_t stride) { return Topology{.visible = strided(stride)}; }, "stride"_a,
      "Strided sparse attention: causal; the `stride` keys before the query, and every stride-th key before those (Child et al. 2019).");
  module.def(
      "fixed", [](int64_t stride, int64_t summary) { return Topology{.visible = fixed(stride, summary)}; }, "stride"_a, "summary"_a,
      "Fixed sparse attention: causal; the query's own block of `stride` keys, and the last `summary` keys of every block (Child et al. "
      "2019).");
  module.def(
      "longformer",
      [](int64_t side, const nb::object& everywhere) {
        return Topology{.visible = longformer(side, indices_of(everywhere, "longformer"))};
      },
      "side"_a, "global_"_a,
      "Longformer: a query sees `side` keys on each side. Positions with global_ != 0 see all keys and are seen by all queries.\n\n"
      "global_: int [key].");
}

}  // namespace

void add_rules(nb::module_& module) {
  add_numbers(module);
  add_truths(module);
  add_functions(module);
  nb::class_<RuleTable>(module, "RuleTable",
                        "Array that a rule indexes by symbols: t[h], t[h, i - j]. An index is floored, then clamped to the array.")
      .def("__getitem__", &look_up, "index"_a)
      .def("__call__", [](const RuleTable& self, const nb::args& at) { return look_up(self, at); });
  module.def(
      "table", [](const nb::object& values) { return table(indices_of(values, "table")); }, "values"_a,
      "Makes an array usable in a rule: ch.table(slopes)[h]. values: float32 or int, 1 to 4 axes. float32 tables have gradients.");
  module.def("rule", &record_rule, "body"_a,
             "User-defined term: ch.rule(lambda s, b, h, i, j: s - 0.1 * abs(i - j)) returns the new score of each pair.\n\n"
             "The lambda is called once, with symbols: score s (in natural units, after the preceding terms), batch b, head h, the\n"
             "position i of the query among the keys, and key j. The recorded expression is data: kernels, gradients, maps and files\n"
             "support it. Numbers: + - * / // % **, abs(), ch.exp, ch.log, ch.tanh, ch.sqrt, ch.floor, ch.minimum, ch.maximum, ch.where,\n"
             "ch.table(array)[h, ...]. Conditions: < <= == ..., & | ~. A score of -inf hides the pair.\n"
             "Raises InvalidArgumentError if Python's own and, or, not, if, min or max is applied to a symbol.");
  module.def("visible", &record_visible, "body"_a,
             "User-defined topology: ch.visible(lambda b, h, i, j: (j <= i) & ((i - j) % 3 == 0)) returns whether a pair is visible.\n\n"
             "The lambda is called once, as in ch.rule. Blocks of pairs that are entirely hidden are never computed.");
  add_library(module);
}

}  // namespace clearhead::python
