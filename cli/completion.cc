// clearhead completion bash|zsh|fish: a completion script for the shell, generated from the declared commands and options.
#include <algorithm>

#include "base/format.h"
#include "cli/cli.h"

namespace clearhead::cli {
namespace {

// One command ("show", "run embed"): its subcommands, its options and its description.
struct Words {
  std::string path{}, commands{}, options{}, about{};
};

void collect(const CLI::App* command, const std::string& path, std::vector<Words>& out) {
  Words words{path, "", "", command->get_description()};
  for (const CLI::Option* option : command->get_options()) {
    for (const std::string& name : option->get_lnames()) words.options += (words.options.empty() ? "--" : " --") + name;
  }
  for (const CLI::App* one : command->get_subcommands(nullptr)) words.commands += (words.commands.empty() ? "" : " ") + one->get_name();
  out.push_back(words);
  for (const CLI::App* one : command->get_subcommands(nullptr))
    collect(one, path.empty() ? one->get_name() : path + " " + one->get_name(), out);
}

std::vector<Words> all_words(const CLI::App& app) {
  std::vector<Words> out;
  collect(&app, "", out);
  return out;
}

std::string bash(const CLI::App& app) {
  std::string cases;
  for (const Words& words : all_words(app)) {
    cases += format("    \"{}\") commands=\"{}\" options=\"{}\" ;;\n", words.path, words.commands, words.options);
  }
  return "_clearhead() {\n"
         "  local word=${COMP_WORDS[COMP_CWORD]} path= commands= options= i\n"
         "  for ((i = 1; i < COMP_CWORD && i < 3; i++)); do\n"
         "    case \" ${COMP_WORDS[i]}\" in \" -\"*) break ;; esac\n"
         "    case \"$i ${COMP_WORDS[1]}\" in \"1 \"*|\"2 run\"|\"2 bench\") path=\"${path:+$path }${COMP_WORDS[i]}\" ;; esac\n"
         "  done\n"
         "  case $path in\n" +
         cases +
         "  esac\n"
         "  if [[ $word == -* ]]; then COMPREPLY=($(compgen -W \"$options\" -- \"$word\"))\n"
         "  elif [ -n \"$commands\" ]; then COMPREPLY=($(compgen -W \"$commands\" -- \"$word\"))\n"
         "  else COMPREPLY=($(compgen -f -- \"$word\")); fi\n"
         "}\n"
         "complete -o filenames -F _clearhead clearhead";
}

// Quotes a text for fish: inside single quotes, only \ and ' need a backslash.
std::string fish_quoted(const std::string& text) {
  std::string out = "'";
  for (const char c : text) {
    if (c == '\\' || c == '\'') out += '\\';
    out += c;
  }
  return out + "'";
}

std::string fish(const CLI::App& app) {
  std::string out;
  for (const Words& words : all_words(app)) {
    if (words.path.empty()) continue;
    const size_t space = words.path.rfind(' ');
    const std::string name = space == std::string::npos ? words.path : words.path.substr(space + 1);
    const std::string parent = space == std::string::npos ? "" : words.path.substr(0, space);
    const std::string when = parent.empty() ? "__fish_use_subcommand" : "__fish_seen_subcommand_from " + parent;
    out += format("complete -c clearhead -n {} -a {} -d {}\n", fish_quoted(when), name, fish_quoted(words.about));
    for (size_t begin = 0; begin < words.options.size();) {
      const size_t end = std::min(words.options.find(' ', begin), words.options.size());
      out += format("complete -c clearhead -n {} -l {}\n", fish_quoted("__fish_seen_subcommand_from " + name),
                    words.options.substr(begin + 2, end - begin - 2));
      begin = end + 1;
    }
  }
  out.pop_back();
  return out;
}

}  // namespace

void add_completion(CLI::App& app) {
  auto shell = std::make_shared<std::string>();
  CLI::App* command = app.add_subcommand("completion", "Print a script for shell completion: eval \"$(clearhead completion bash)\"");
  command->footer("Example: eval \"$(clearhead completion bash)\"      (put this line in ~/.bashrc to keep it)");
  command->add_option("shell", *shell, "Which shell: bash, zsh or fish")->required()->check(CLI::IsMember({"bash", "zsh", "fish"}));
  command->callback([shell, &app] {
    if (*shell == "fish") return print(fish(app));
    if (*shell == "zsh") print("autoload -U +X bashcompinit && bashcompinit");
    print(bash(app));
  });
}

}  // namespace clearhead::cli
