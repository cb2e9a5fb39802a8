"""The prompt of an explanation: the model's inputs, the text, and the parts of the text that have names."""

from collections.abc import Mapping

import torch

from ..errors import InvalidArgumentError, NotFoundError


class Prompt:
    """The input of a model.

    inputs: the arguments of its forward pass, with a batch of one. text: the text of the tokens, or None if only tokens are known.
    named: documents or turns as [(name, begin, end)], in characters of the text.
    """

    def __init__(self, inputs, text=None, named=()):
        self.inputs, self.text, self.named = inputs, text, list(named)

    @property
    def ids(self):
        """Token ids, as a list; empty for a model that reads no text."""
        ids = self.inputs.get("input_ids")
        return [] if ids is None else ids[0].tolist()

    @classmethod
    def of(cls, model, tokenizer, prompt, messages, documents):
        """Reads the arguments of explain(). Raises InvalidArgumentError."""
        if (prompt is None) == (messages is None):
            raise InvalidArgumentError("explain: expected either a prompt or messages=")
        if messages is not None:
            return _of_chat(model, _needed(tokenizer), messages, documents)
        if documents is not None:
            if not isinstance(prompt, str):
                raise InvalidArgumentError("explain: documents= are put before a prompt that is a text; expected a str")
            text, named = _joined(documents, prompt)
            return cls(_encoded(model, _needed(tokenizer), text), text, named=named)
        if isinstance(prompt, str):
            return cls(_encoded(model, _needed(tokenizer), prompt), prompt)
        if isinstance(prompt, Mapping):
            return cls(_of_batch_of_one({name: value for name, value in prompt.items() if isinstance(value, torch.Tensor)}, model))
        if isinstance(prompt, tuple) and len(prompt) == 2 and all(isinstance(one, str) for one in prompt):
            return cls(_on_device(model, _needed(tokenizer)(*prompt, return_tensors="pt")))
        if isinstance(prompt, torch.Tensor) or (isinstance(prompt, (list, tuple)) and all(isinstance(one, int) for one in prompt)):
            ids = torch.as_tensor(prompt).reshape(1, -1)
            return cls(_on_device(model, {"input_ids": ids, "attention_mask": torch.ones_like(ids)}))
        raise InvalidArgumentError(f"explain: the prompt is a {type(prompt).__name__}; expected a text, a pair of texts, token ids, or the "
                                   "model's inputs as a dict")


def _needed(tokenizer):
    if tokenizer is None:
        raise InvalidArgumentError("explain: a prompt that is a text needs the model's tokenizer; pass it as the second argument")
    return tokenizer


def _on_device(model, inputs):
    device = next((one.device for one in model.parameters()), torch.device("cpu"))
    return {name: value.to(device) for name, value in inputs.items()}


def _encoded(model, tokenizer, text, **options):
    return _on_device(model, tokenizer(text=text, return_tensors="pt", **options))


def _of_batch_of_one(inputs, model):
    for name, value in inputs.items():
        if name in ("input_ids", "attention_mask", "decoder_input_ids") and value.shape[0] != 1:
            raise InvalidArgumentError(f"explain: {name} has a batch of {value.shape[0]}; expected one input, as in inputs[:1]")
    if not inputs:
        raise InvalidArgumentError("explain: the inputs have no tensor; expected return_tensors=\"pt\"")
    return _on_device(model, inputs)


def _title_and_text(document, number):
    """Returns (name, text) of a document: a str, or a mapping with "text" and optionally "title"."""
    if isinstance(document, str):
        return f"document {number}", document
    if isinstance(document, Mapping) and isinstance(document.get("text"), str):
        return str(document.get("title") or f"document {number}"), document["text"]
    raise InvalidArgumentError(f'explain: documents[{number}] is a {type(document).__name__}; expected a str, or a dict with "text" and '
                               'optionally "title"')


def _joined(documents, prompt):
    """Puts documents before a prompt, separated by empty lines. Returns (text, [(name, begin, end)])."""
    text, named = "", []
    for number, document in enumerate(documents):
        name, of_document = _title_and_text(document, number)
        named.append((name, len(text), len(text) + len(of_document)))
        text += of_document + "\n\n"
    return text + prompt, named


def _found(text, part, begin, what):
    at = text.find(part, begin)
    if at < 0:
        raise NotFoundError(f"explain: {what} is not in the text that the chat template makes of the messages")
    return at, at + len(part)


def _of_chat(model, tokenizer, messages, documents):
    chat = getattr(tokenizer, "tokenizer", tokenizer)
    if not getattr(chat, "chat_template", None):
        raise InvalidArgumentError("explain: the tokenizer has no chat template; expected a prompt that is a text")
    parts = [_title_and_text(one, number) for number, one in enumerate(documents or ())]
    has_place = "documents" in str(chat.chat_template)
    messages = [dict(one) for one in messages]
    if parts and not has_place:  # the template has no place for documents: they open the last turn of the user
        last = max((at for at, one in enumerate(messages) if one.get("role") == "user"), default=None)
        if last is None:
            raise InvalidArgumentError('explain: documents= are put before the last message of the role "user", but there is none')
        messages[last]["content"] = "\n\n".join([*(text for _, text in parts), messages[last]["content"]])
    options = {"documents": [{"title": name, "text": text} for name, text in parts]} if parts and has_place else {}
    text = chat.apply_chat_template(messages, tokenize=False, add_generation_prompt=True, **options)
    named, at = [], 0
    for name, part in parts:
        begin, at = _found(text, part, at, name)
        named.append((name, begin, at))
    if not parts:
        for number, message in enumerate(messages):
            begin, at = _found(text, str(message["content"]).strip(), at, f"message {number}")
            named.append((f"{message.get('role', 'turn')} {number}", begin, at))
    return Prompt(_encoded(model, tokenizer, text, add_special_tokens=False), text, named=named)
