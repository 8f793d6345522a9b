"""The language side: Qwen-VL-family backbone, text conditioner, staircase reasoning and its reader."""
