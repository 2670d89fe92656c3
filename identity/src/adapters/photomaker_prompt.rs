//! The trigger word of a PhotoMaker prompt: "a man img in the snow" is about the man of the references. The
//! trigger goes, the class word before it ("man") is repeated once for each token of the person, and the
//! prompt without the trigger is what the first steps of a run hear.
//!
//! Source: `encode_prompt_with_trigger_word` of the published pipeline.

use std::ops::Range;

use super::photomaker::PhotoMakerError;

/// The text before and after the trigger word.
///
/// # Errors
/// [`PhotoMakerError::Trigger`] unless it stands there once. As in the published pipeline, any place of its
/// letters counts, inside a word too, and capitals are other letters.
pub fn split_at_trigger<'a>(prompt: &'a str, trigger: &str) -> Result<(&'a str, &'a str), PhotoMakerError> {
    let found = if trigger.is_empty() { 0 } else { prompt.matches(trigger).count() };
    match prompt.split_once(trigger) {
        Some(parts) if found == 1 => Ok(parts),
        _ => Err(PhotoMakerError::Trigger { trigger: trigger.to_string(), found }),
    }
}

/// The last step that hears the text alone, counted from 0: the person is heard from the next one on. The
/// share of the run, 0 to 1, is called style strength in the published demo (0.2); there and here the last
/// such step is at most the 30th.
pub fn merge_step(style_strength: f64, steps: usize) -> usize {
    const MOST: f64 = 30.0;
    (style_strength.clamp(0.0, 1.0) * steps as f64).min(MOST) as usize
}

/// What a tokenizer puts around and behind a prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpecialTokens {
    pub start: i64,
    pub end: i64,
    pub padding: i64,
    /// Ids of every prompt.
    pub length: usize,
}

/// A prompt for one tokenizer, with the person and without. Of SDXL's two tokenizers each makes its own;
/// they differ in their padding alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TriggerPrompt {
    /// The class word repeated for the person, no trigger word.
    pub ids: Vec<i64>,
    /// Places of the repeated class word in `ids`.
    pub class_tokens: Range<usize>,
    /// The prompt without the trigger word.
    pub text_only: Vec<i64>,
    /// Tokens of the text that `ids` has no room for.
    pub cut: usize,
}

impl TriggerPrompt {
    /// Of the token ids `before` and `after` the trigger word, for a person of `tokens` tokens.
    ///
    /// # Errors
    /// No word before the trigger, and a person beyond the end of the prompt.
    pub fn new(
        before: &[i64],
        after: &[i64],
        trigger: &str,
        tokens: usize,
        special: SpecialTokens,
    ) -> Result<Self, PhotoMakerError> {
        let Some((&class, words)) = before.split_last() else {
            return Err(PhotoMakerError::NoClassWord { trigger: trigger.to_string() });
        };
        let SpecialTokens { start, end, padding, length } = special;
        // Start and end stand around the text.
        let room = length.saturating_sub(2);
        let class_tokens = 1 + words.len()..1 + words.len() + tokens;
        // The trigger itself must be among the tokens that the tokenizer keeps.
        if before.len() >= room || class_tokens.end > length {
            return Err(PhotoMakerError::TooLong { before: before.len(), needed: tokens, most: length });
        }
        // Cut as the prompt with the trigger is; the person's tokens may push the end out after that.
        let kept = room - before.len() - 1;
        let mut ids = vec![start];
        ids.extend(words);
        ids.extend(std::iter::repeat_n(class, tokens));
        ids.extend(after.iter().take(kept));
        ids.push(end);
        let pushed_out = ids.len().saturating_sub(length);
        ids.resize(length, padding);
        let mut text_only = vec![start];
        text_only.extend(before.iter().chain(after).take(room));
        text_only.push(end);
        text_only.resize(length, padding);
        // Of what is pushed out, one is the end token.
        let cut = after.len().saturating_sub(kept) + pushed_out.saturating_sub(1);
        Ok(Self { ids, class_tokens, text_only, cut })
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;

    const SPECIAL: SpecialTokens = SpecialTokens { start: 90, end: 91, padding: 0, length: 10 };

    fn prompt(before: &[i64], after: &[i64], tokens: usize) -> Result<TriggerPrompt, PhotoMakerError> {
        TriggerPrompt::new(before, after, "img", tokens, SPECIAL)
    }

    #[test]
    fn the_class_word_is_repeated() {
        let made = prompt(&[1, 2], &[3, 4], 3).unwrap();
        assert_eq!(made.ids, [90, 1, 2, 2, 2, 3, 4, 91, 0, 0]);
        assert_eq!(made.class_tokens, 2..5);
        assert_eq!(made.text_only, [90, 1, 2, 3, 4, 91, 0, 0, 0, 0]);
        assert_eq!(made.cut, 0);
        assert_eq!(prompt(&[7], &[], 1).unwrap().ids, [90, 7, 91, 0, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn a_long_prompt_loses_its_end() {
        // eight tokens fit, one of them the trigger
        let made = prompt(&[1, 2], &[3, 4, 5, 6, 7, 8, 9], 4).unwrap();
        assert_eq!(made.ids, [90, 1, 2, 2, 2, 2, 3, 4, 5, 6]);
        assert_eq!(made.text_only, [90, 1, 2, 3, 4, 5, 6, 7, 8, 91]);
        assert_eq!(made.cut, 3);
        let most = prompt(&[1, 2], &[], 8).unwrap();
        assert_eq!((most.ids.len(), most.class_tokens), (10, 2..10));
        for (before, tokens) in [(&[1, 2][..], 9), (&[1; 8][..], 1), (&[1; 20][..], 1)] {
            let message = prompt(before, &[], tokens).unwrap_err().to_string();
            assert!(message.contains("10 in all"), "{message}");
        }
    }

    #[test]
    fn the_trigger_stands_once_behind_a_word() {
        assert_eq!(split_at_trigger("a man img, smiling", "img").unwrap(), ("a man ", ", smiling"));
        for (wrong, count) in [("a man", "found 0"), ("img img", "found 2"), ("a man IMG", "found 0")] {
            let message = split_at_trigger(wrong, "img").unwrap_err().to_string();
            assert!(message.contains(count), "{message}");
        }
        assert!(split_at_trigger("a man", "").is_err());
        let message = prompt(&[], &[1], 1).unwrap_err().to_string();
        assert!(message.contains("\"a man img\""), "{message}");
    }

    #[test]
    fn the_person_is_heard_after_a_share_of_the_run() {
        assert_eq!(merge_step(0.2, 50), 10);
        assert_eq!(merge_step(0.9, 50), 30);
        assert_eq!(merge_step(0.2, 4), 0);
        assert_eq!(merge_step(-1.0, 50), 0);
    }
}
