"""A model of images and text by transformers alone, to compare with."""

from __future__ import annotations

import numpy as np
import torch


class DirectChat:
    """A network with its own tokenizer, image settings and processor, all of transformers."""

    def __init__(self, net, tokenizer, images, processor):
        self.net, self.tokenizer = net.eval(), tokenizer
        self.images, self.processor = images, processor

    def inputs(self, question, answer=""):
        parts = [{"type": "image"}] * len(question.images)
        content = [*parts, {"type": "text", "text": question.prompt}]
        text = self.processor.apply_chat_template(
            [{"role": "user", "content": content}], add_generation_prompt=True
        )
        # Floats, because the processor rounds what it resamples of bytes.
        pixels = [image.astype(np.float32) for image in question.images]
        return self.processor(images=pixels, text=text + answer, return_tensors="pt")

    def answer(self, question, most):
        inputs = self.inputs(question)
        found = self.net.generate(**inputs, max_new_tokens=most, do_sample=False)[0]
        new = found[inputs["input_ids"].shape[1] :]
        return self.tokenizer.decode(new, skip_special_tokens=True).strip()

    def loss(self, question, answer):
        inputs = self.inputs(question, answer)
        start = self.inputs(question)["input_ids"].shape[1]
        labels = inputs["input_ids"].clone()
        labels[:, :start] = -100
        with torch.inference_mode():
            return float(self.net(**inputs, labels=labels).loss)
