//! What single layers cost: parameters, products and elements alive, added up in a [`Tally`].

/// Sums over the layers of a network, for one row.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) parameters: u64,
    /// Products in convolutions, linear layers and attention.
    pub(super) products: u64,
    /// Elements of the feature maps that are kept for later layers.
    pub(super) kept: u64,
    /// Largest number of elements at one moment.
    pub(super) peak: u64,
}

impl Tally {
    pub(super) fn convolution(&mut self, inputs: u64, outputs: u64, kernel: u64, area: u64) {
        let products = inputs * outputs * kernel * kernel;
        self.parameters += products + outputs;
        self.products += products * area;
    }

    pub(super) fn linear(&mut self, inputs: u64, outputs: u64, bias: bool, rows: u64) {
        self.parameters += inputs * outputs + if bias { outputs } else { 0 };
        self.products += inputs * outputs * rows;
    }

    pub(super) fn norm(&mut self, channels: u64) {
        self.parameters += 2 * channels;
    }

    /// So many elements live beside those that are kept.
    pub(super) fn work(&mut self, elements: u64) {
        self.peak = self.peak.max(self.kept + elements);
    }

    /// `ResnetBlock2D`; `time` is the width of what the time embedding is projected from, and to how many maps.
    pub(super) fn resnet(&mut self, inputs: u64, outputs: u64, time: Option<(u64, u64)>, area: u64) {
        self.norm(inputs);
        self.convolution(inputs, outputs, 3, area);
        if let Some((width, maps)) = time {
            self.linear(width, maps * outputs, true, 1);
        }
        self.norm(outputs);
        self.convolution(outputs, outputs, 3, area);
        if inputs != outputs {
            self.convolution(inputs, outputs, 1, area);
        }
        self.work((4 * inputs + 3 * outputs) * area);
    }

    /// `Transformer2DModel` over `area` tokens and a text of `text` tokens.
    pub(super) fn transformer(&mut self, channels: u64, cross: u64, layers: u64, area: u64, text: u64) {
        self.norm(channels);
        for _ in 0..2 {
            self.linear(channels, channels, true, area);
        }
        for _ in 0..layers {
            for _ in 0..3 {
                self.norm(channels);
                self.linear(channels, channels, false, area); // self-attention's q, k, v
            }
            self.linear(channels, channels, true, area);
            self.products += 2 * area * area * channels;
            self.linear(channels, channels, false, area);
            for _ in 0..2 {
                self.linear(cross, channels, false, text);
            }
            self.linear(channels, channels, true, area);
            self.products += 2 * area * text * channels;
            self.linear(channels, 8 * channels, true, area);
            self.linear(4 * channels, channels, true, area);
        }
        // its own 19 and the map that the result is added to
        self.work(20 * channels * area);
    }
}

/// Counts as configurations have them are positive: [`imagine_unet::UNetConfig::check`] sees to it.
pub(super) fn count(value: i64) -> u64 {
    value.max(0) as u64
}
