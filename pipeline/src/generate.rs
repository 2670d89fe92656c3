//! The engine: one request at a time, by the same steps as many.

use imagine_contract::{CancelFlag, Engine, EngineError, Event, GenerateRequest, ModelInfo, OrderEvent};

use crate::model::StableDiffusion;
use crate::studio::floor::{Floor, Task, usual_cells};

impl Engine for StableDiffusion {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn generate(
        &mut self,
        request: &GenerateRequest,
        on_event: &mut dyn FnMut(Event),
        cancel: &CancelFlag,
    ) -> Result<(), EngineError> {
        let _no_grad = tch::no_grad_guard();
        let mut floor = Floor::new(self, usual_cells(self.device), None).frugal();
        floor.add(Task {
            request: request.clone(),
            owner: String::new(),
            previews_every: None,
            cancel: cancel.clone(),
        });
        let mut outcome = Ok(());
        while !floor.is_idle() {
            floor.turn(&mut |_, event| match event {
                OrderEvent::Happened(event) => on_event(event),
                OrderEvent::Failed(error) => outcome = Err(error),
                OrderEvent::Preview { .. } | OrderEvent::Done => {}
            });
        }
        outcome
    }
}
