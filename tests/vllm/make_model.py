"""Makes a small Llama with random weights and three LoRA adapters: make_model.py FOLDER

``FOLDER/base`` has 13 million parameters, a tokenizer and a chat template. One core takes a second
for a prompt of 2,000 tokens, so that a cached prefix shows in the time to the first token.
``FOLDER/lora-{a,b,c}`` are adapters of rank 8. The same seeds make the same files.
"""

import json
import random
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

LAYERS, HIDDEN, INTERMEDIATE, HEADS, KV_HEADS, HEAD_SIZE = 4, 512, 1536, 8, 4, 64
LONGEST = 8192
RANK = 8
SPECIAL = ["<|pad|>", "<|bos|>", "<|eos|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"]
WORDS = """the a of to and in is that for with request replica cache prefix token block queue route model adapter server prompt engine batch
latency schedule memory system user answer question document page line number red blue green north south river stone light water fire
one two three four five six seven eight nine ten""".split()
CHAT = (
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
# Out and in, of each matrix in a layer.
SHAPES = {
    "self_attn.q_proj": (HEADS * HEAD_SIZE, HIDDEN),
    "self_attn.k_proj": (KV_HEADS * HEAD_SIZE, HIDDEN),
    "self_attn.v_proj": (KV_HEADS * HEAD_SIZE, HIDDEN),
    "self_attn.o_proj": (HIDDEN, HEADS * HEAD_SIZE),
    "mlp.gate_proj": (INTERMEDIATE, HIDDEN),
    "mlp.up_proj": (INTERMEDIATE, HIDDEN),
    "mlp.down_proj": (HIDDEN, INTERMEDIATE),
}


def write(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=1))


def make_tokenizer(folder: Path) -> int:
    """A byte-level BPE of some hundred tokens: their number."""
    rng = random.Random(0)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=1024, special_tokens=SPECIAL, show_progress=False, initial_alphabet=alphabet
    )
    tokenizer.train_from_iterator((" ".join(rng.choices(WORDS, k=40)) for _ in range(400)), trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    write(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": LONGEST,
            "bos_token": "<|bos|>",
            "eos_token": "<|eos|>",
            "pad_token": "<|pad|>",
            "clean_up_tokenization_spaces": False,
            "chat_template": CHAT,
        },
    )
    return tokenizer.get_vocab_size()


def random_matrix(generator: torch.Generator, *shape: int, spread: float = 0.05) -> torch.Tensor:
    return (torch.randn(*shape, generator=generator) * spread).to(torch.bfloat16)


def make_base(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    # As many tokens as the tokenizer has, so that each that is sampled is a text.
    vocabulary = make_tokenizer(folder)
    ids = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    write(
        folder / "config.json",
        {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "hidden_act": "silu",
            "hidden_size": HIDDEN,
            "intermediate_size": INTERMEDIATE,
            "num_hidden_layers": LAYERS,
            "num_attention_heads": HEADS,
            "num_key_value_heads": KV_HEADS,
            "head_dim": HEAD_SIZE,
            "max_position_embeddings": LONGEST,
            "rms_norm_eps": 1e-5,
            "rope_theta": 10000.0,
            "vocab_size": vocabulary,
            "tie_word_embeddings": False,
            "attention_bias": False,
            "mlp_bias": False,
            "initializer_range": 0.02,
            "dtype": "bfloat16",
            **ids,
        },
    )
    write(folder / "generation_config.json", ids)
    generator = torch.Generator().manual_seed(1)
    weights = {
        "model.embed_tokens.weight": random_matrix(generator, vocabulary, HIDDEN, spread=1.0),
        "lm_head.weight": random_matrix(generator, vocabulary, HIDDEN, spread=0.1),
        "model.norm.weight": torch.ones(HIDDEN, dtype=torch.bfloat16),
    }
    for layer in range(LAYERS):
        prefix = f"model.layers.{layer}."
        for name, shape in SHAPES.items():
            weights[f"{prefix}{name}.weight"] = random_matrix(generator, *shape)
        for norm in ("input_layernorm", "post_attention_layernorm"):
            weights[f"{prefix}{norm}.weight"] = torch.ones(HIDDEN, dtype=torch.bfloat16)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def make_adapter(folder: Path, base: Path, seed: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    write(
        folder / "adapter_config.json",
        {
            "peft_type": "LORA",
            "task_type": "CAUSAL_LM",
            "r": RANK,
            "lora_alpha": 16,
            "lora_dropout": 0.0,
            "bias": "none",
            "base_model_name_or_path": str(base),
            "target_modules": [name.split(".")[1] for name in SHAPES],
        },
    )
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for layer in range(LAYERS):
        for name, (rows, columns) in SHAPES.items():
            prefix = f"base_model.model.model.layers.{layer}.{name}"
            weights[f"{prefix}.lora_A.weight"] = random_matrix(generator, RANK, columns)
            weights[f"{prefix}.lora_B.weight"] = random_matrix(generator, rows, RANK)
    save_file(weights, folder / "adapter_model.safetensors", metadata={"format": "pt"})


if __name__ == "__main__":
    target = Path(sys.argv[1])
    make_base(target / "base")
    for number, name in enumerate("abc"):
        make_adapter(target / f"lora-{name}", target / "base", 100 + number)
