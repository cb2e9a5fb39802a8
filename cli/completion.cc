// clearhead completion bash|zsh|fish: a script for the shell, made from the commands themselves.
#include "base/format.h"
#include "cli/cli.h"

namespace clearhead::cli {
namespace {

std::string words_of(const CLI::App* command) {
  std::string words;
  for (const CLI::Option* option : command->get_options()) {
    for (const std::string& name : option->get_lnames()) words += (words.empty() ? "--" : " --") + name;
  }
  return words;
}

std::string bash(const CLI::App& app) {
  std::string commands, cases;
  for (const CLI::App* command : app.get_subcommands(nullptr)) {
    commands += (commands.empty() ? "" : " ") + command->get_name();
    cases += format("    {}) words=\"{}\" ;;\n", command->get_name(), words_of(command));
  }
  return "_clearhead() {\n"
         "  local word=${COMP_WORDS[COMP_CWORD]} words=\n"
         "  if [ \"$COMP_CWORD\" -eq 1 ]; then COMPREPLY=($(compgen -W \"" +
         commands +
         "\" -- \"$word\")); return; fi\n"
         "  case ${COMP_WORDS[1]} in\n" +
         cases +
         "  esac\n"
         "  case $word in -*) COMPREPLY=($(compgen -W \"$words\" -- \"$word\")) ;; *) COMPREPLY=($(compgen -f -- \"$word\")) ;; esac\n"
         "}\n"
         "complete -o filenames -F _clearhead clearhead";
}

std::string fish(const CLI::App& app) {
  std::string out;
  for (const CLI::App* command : app.get_subcommands(nullptr)) {
    out += format("complete -c clearhead -n __fish_use_subcommand -a {} -d '{}'\n", command->get_name(), command->get_description());
    for (const CLI::Option* option : command->get_options()) {
      for (const std::string& name : option->get_lnames()) {
        out += format("complete -c clearhead -n '__fish_seen_subcommand_from {}' -l {}\n", command->get_name(), name);
      }
    }
  }
  out.pop_back();
  return out;
}

}  // namespace

void add_completion(CLI::App& app) {
  auto shell = std::make_shared<std::string>();
  CLI::App* command = app.add_subcommand("completion", "Shell completion: eval \"$(clearhead completion bash)\"");
  command->add_option("shell", *shell, "bash, zsh or fish")->required()->check(CLI::IsMember({"bash", "zsh", "fish"}));
  command->callback([shell, &app] {
    if (*shell == "fish") return print(fish(app));
    if (*shell == "zsh") print("autoload -U +X bashcompinit && bashcompinit");
    print(bash(app));
  });
}

}  // namespace clearhead::cli
